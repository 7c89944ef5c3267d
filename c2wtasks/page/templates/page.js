"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const RECORDS = ["image.json", "spec.json", "initconfig.json", "packages.json", "sbom.spdx.json", "sbom.cdx.json"];
  const STATES = { failed: 0, missing: 1, built: 2 };
  const STEP = 50, MORE = 500, NAMED = 5;

  // Text from images only ever gets into the page as text nodes and attributes.
  const el = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  };
  const SVG = "http://www.w3.org/2000/svg";
  const human = (bytes) => {
    const units = ["bytes", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (bytes >= 1000 && unit < 4) { bytes /= 1000; unit += 1; }
    return unit ? `${bytes.toFixed(1)} ${units[unit]}` : `${bytes} bytes`;
  };
  const number = (count) => count.toLocaleString("en");
  const counted = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
  const short = (digest) => digest.slice(digest.lastIndexOf(":") + 1, digest.lastIndexOf(":") + 13);
  const day = (when) => when.slice(0, 16).replace("T", " ");
  const url = (path) => path.split("/").map(encodeURIComponent).join("/");

  const bundles = data.bundles.map((one, at) => {
    const key = `${one.name}@${one.platform}`;
    const has = Boolean(one.digest);
    const size = one.size || 0;
    return {
      ...one, at, key, has, size, forms: one.forms || [], layers: one.layers || [], files: one.files || [],
      text: [key, one.state, (one.forms || []).join(" "), one.digest, one.error, one.source].join(" ").toLowerCase(),
      sort: {
        state: STATES[one.state], name: at, since: one.since || "", size, platform: one.platform,
        packages: one.packages ? one.count || 0 : -1, layers: (one.layers || []).length,
        growth: one.trend ? size / (one.trend.first || 1) : 1,
      },
    };
  });
  const users = data.layers.map(() => []);
  for (const one of bundles) for (const layer of new Set(one.layers)) users[layer].push(one);

  const view = { q: "", state: "", platform: "", inside: false, sort: "", open: "", shown: STEP };
  const read = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    view.q = given.get("q") || "";
    view.state = given.get("state") in STATES ? given.get("state") : "";
    view.platform = platforms.includes(given.get("platform")) ? given.get("platform") : "";
    view.inside = given.get("inside") === "1";
    view.sort = (given.get("sort") || "").replace("-", "") in bundles[0]?.sort ? given.get("sort") : "";
    view.open = given.get("open") || "";
    view.shown = STEP;
    $("find").value = view.q;
    $("state").value = view.state;
    $("platform").value = view.platform;
    $("inside").checked = view.inside;
  };
  const keep = () => {
    const kept = new URLSearchParams();
    for (const name of ["q", "state", "platform", "sort", "open"]) if (view[name]) kept.set(name, view[name]);
    if (view.inside) kept.set("inside", "1");
    const hash = kept.toString();
    try {
      history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
    } catch {
      location.replace(`#${hash}`);
    }
  };

  const withPackage = (word) => {
    const found = new Set();
    data.packages.forEach((one, at) => { if (one.split(" ")[1].toLowerCase().includes(word)) found.add(at); });
    const groups = data.groups.map((group) => group.some((one) => found.has(one)));
    return (bundle) => (bundle.packages || []).some((group) => groups[group]);
  };
  const selected = () => {
    const words = view.q.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
      const inside = view.inside && word.length > 1 ? withPackage(word) : () => false;
      return (bundle) => bundle.text.includes(word) || inside(bundle);
    });
    const found = bundles.filter((bundle) => (!view.state || bundle.state === view.state)
      && (!view.platform || bundle.platform === view.platform) && words.every((word) => word(bundle)));
    if (!view.sort) return found;
    const by = view.sort.replace("-", ""), sign = view.sort.startsWith("-") ? -1 : 1;
    return found.sort((a, b) => {
      const left = a.sort[by], right = b.sort[by];
      return left < right ? -sign : left > right ? sign : a.at - b.at;
    });
  };

  const copying = (text, what) => el("button", { type: "button", class: "copy", "data-copy": text, "aria-label": `Copy ${what}` }, "copy");
  const trend = (bundle) => {
    const label = bundle.trend ? `${human(bundle.trend.first)}, now ${human(bundle.size)}` : "as large as ever";
    const drawn = document.createElementNS(SVG, "svg");
    for (const [name, value] of [["class", "trend"], ["viewBox", "0 0 640 160"], ["role", "img"], ["aria-label", label]]) drawn.setAttribute(name, value);
    const title = document.createElementNS(SVG, "title"), line = document.createElementNS(SVG, "path");
    title.textContent = label;
    line.setAttribute("d", bundle.trend ? bundle.trend.line : "M20 80H620");
    if (!bundle.trend) line.setAttribute("class", "flat");
    drawn.append(title, line);
    return drawn;
  };
  const cell = (label, classes, ...children) => el("td", { role: "cell", class: classes, "data-label": label }, ...children);
  const row = (bundle) => {
    const open = view.open === bundle.key;
    return el("tr", { role: "row", class: `bundle${open ? " open" : ""}`, "data-at": bundle.at },
      cell(null, "lamp", el("span", { class: `state ${bundle.state}` }, bundle.state)),
      cell(null, "title", el("button", { type: "button", class: "open-it", "aria-expanded": String(open), "aria-controls": open ? "detail" : null }, el("bdi", {}, bundle.name))),
      cell(null, "nowrap", bundle.platform),
      cell("since", "nowrap", bundle.since ? el("time", { datetime: bundle.since, title: `${day(bundle.since)} UTC` }, bundle.since.slice(0, 10)) : "–"),
      cell(null, "number", bundle.has ? human(bundle.size) : "–"),
      cell(null, "trend", bundle.has ? trend(bundle) : ""),
      cell("packages", "number", bundle.packages ? number(bundle.count || 0) : "–"),
      cell("layers", "number", bundle.has ? number(bundle.layers.length) : "–"),
      cell("forms", "", bundle.forms.join(" ") || "–"),
      cell(null, "nowrap digest", bundle.has ? el("code", {}, short(bundle.digest)) : "–", bundle.has ? copying(bundle.digest, `digest of ${bundle.key}`) : ""));
  };

  const part = (title, classes, ...children) => el("div", { class: classes }, el("h3", {}, title), ...children);
  const lines = (texts, classes = "") => el("ul", { class: classes }, ...texts.map((text) => el("li", {}, el("bdi", {}, text))));
  const pairs = (...given) => el("dl", {}, ...given.filter((pair) => pair[1]).flatMap(([name, value]) => [
    el("dt", {}, name), el("dd", {}, typeof value === "string" ? el("bdi", {}, value) : value)]));
  const some = (names) => names.slice(0, NAMED).join(", ") + (names.length > NAMED ? ` and ${number(names.length - NAMED)} more` : "");

  const layerBars = (bundle) => {
    const largest = Math.max(1, ...bundle.layers.map((at) => data.layers[at].size || 0));
    return el("ol", { class: "bars" }, ...bundle.layers.map((at) => {
      const layer = data.layers[at], others = users[at].filter((one) => one !== bundle).map((one) => one.key);
      const bar = el("div", { class: `bar${others.length ? " shared" : ""}` });
      bar.style.width = `${(100 * (layer.size || 0)) / largest}%`;
      return el("li", {}, el("span", { class: "number" }, layer.size === null || layer.size === undefined ? "?" : human(layer.size)), el("div", { class: "track" }, bar),
        el("div", { class: "with" }, el("code", {}, short(layer.id)), copying(layer.id, "diffID"), others.length ? ` shared with ${some(others)}` : " its own"));
    }));
  };
  const files = (bundle) => el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "File"), el("th", { scope: "col", class: "number" }, "Size"), el("th", { scope: "col" }, "SHA-256"))),
    el("tbody", {}, ...bundle.files.map(([path, size, sha256]) => el("tr", {},
      el("td", {}, el("a", { href: `${url(bundle.path)}/${url(path)}` }, el("bdi", {}, path))), el("td", { class: "number" }, human(size)),
      el("td", { class: "nowrap" }, el("code", {}, short(sha256)), copying(sha256, `SHA-256 of ${path}`)))))));
  const packages = (bundle) => {
    if (!bundle.packages) return el("p", { class: "soft" }, "The list is not on this page: see packages.json.");
    if (!bundle.count) return el("p", { class: "soft" }, "No database of packages is in the root.");
    const groups = bundle.packages.map((at, layer) => [layer, data.groups[at]]).filter(([, group]) => group.length);
    return el("div", {}, el("p", { class: "soft" }, `${counted(bundle.count || 0, "package")}, by the layer that brought them`), ...groups.map(([layer, group]) => {
      const name = layer < bundle.layers.length ? `Layer ${layer + 1}: ${short(data.layers[bundle.layers[layer]].id)}` : "Layer not known";
      const made = el("details", {}, el("summary", {}, `${name} (${number(group.length)})`));
      made.addEventListener("toggle", () => {
        if (made.childElementCount === 1) made.append(el("ul", { class: "packages" }, ...group.map((at) => {
          const [kind, named, version, architecture] = data.packages[at].split(" ");
          return el("li", {}, el("strong", {}, named), ` ${version} `, el("span", { class: "soft" }, `${kind} ${architecture || ""}`));
        })));
      });
      return made;
    }));
  };
  const events = (bundle) => el("ul", { class: "events" }, ...bundle.history.map((one) => el("li", {},
    el("time", { datetime: one.when }, day(one.when)), ` ${one.state}`, one.times > 1 ? el("span", { class: "soft" }, ` in ${number(one.times)} runs, the first ${day(one.since)}`) : "",
    one.lines ? lines(one.lines, "lines") : "")));
  const config = (bundle) => {
    const given = bundle.config || {}, mounts = data.mounts[given.mounts] || [], settings = data.settings[bundle.settings] || [];
    const folded = (name, texts) => (texts.length ? el("details", {}, el("summary", {}, `${name} (${texts.length})`), lines(texts, "mono")) : null);
    return part("What runs", "", pairs(["Command", given.args ? el("code", {}, given.args.join(" ")) : ""], ["User", given.user], ["Folder", given.cwd]),
      bundle.overrides ? el("p", {}, el("span", { class: "soft" }, "Overrides of bundle.yaml: "), el("code", {}, bundle.overrides.join(", "))) : "",
      folded("Environment", given.env || []), folded("Mounts", mounts), folded("Settings", settings));
  };
  const detail = (bundle) => {
    const place = url(bundle.path);
    const link = (name) => el("a", { href: `${place}/${name}` }, name);
    const inside = el("div", { class: "details" });
    if (bundle.error) inside.append(el("p", { class: "error wide" }, el("bdi", {}, bundle.error), bundle.has ? " What follows is of the last good bundle, which still stands." : ""));
    if (bundle.has) {
      inside.append(
        part("Layers", "", layerBars(bundle), el("p", { class: "key soft" }, el("span", {}), "its own", el("span", { class: "shared" }), "shared")),
        part("Image", "", pairs(["Source", bundle.source], ["Digest", el("span", {}, el("code", {}, bundle.digest), copying(bundle.digest, "digest"))],
          ["Config", el("code", {}, short(bundle.config_digest))], ["Root", bundle.entries ? `${counted(bundle.entries, "name")} in the folder` : ""]),
          ...(bundle.notes || []).map((note) => el("p", { class: "soft" }, el("bdi", {}, note)))),
        part("Forms and files", "", files(bundle)), config(bundle), part("Packages", "wide", packages(bundle)));
    }
    if (bundle.history) inside.append(part("History", "wide", events(bundle)));
    const records = bundle.files.map((file) => file[0]).filter((path) => RECORDS.includes(path));
    inside.append(part("Records", "wide links", ...(bundle.has ? ["bundle.json", "SHA256SUMS", ...records].map(link) : []),
      el("a", { href: `feeds/${encodeURIComponent(bundle.name)}.atom` }, "feed of this image"), el("a", { href: "catalog.json" }, "catalog.json")));
    return el("tr", { role: "row", class: "detail open", id: "detail" }, el("td", { role: "cell", colspan: "10" }, inside));
  };

  const platforms = [...new Set(bundles.map((one) => one.platform))].sort();
  $("platform").append(...platforms.map((one) => el("option", {}, one)));
  const known = new Map(); // rows that were drawn: another keystroke draws most of them again
  const rowOf = (bundle) => {
    if (bundle.key === view.open) return row(bundle);
    if (!known.has(bundle.at)) known.set(bundle.at, row(bundle));
    return known.get(bundle.at);
  };
  const draw = () => {
    const found = selected(), open = found.findIndex((one) => one.key === view.open);
    const shown = found.slice(0, Math.max(view.shown, open + 1));
    $("rows").replaceChildren(...shown.flatMap((one) => (one.key === view.open ? [rowOf(one), detail(one)] : [rowOf(one)])));
    $("empty").hidden = found.length > 0;
    $("count").textContent = found.length === bundles.length ? counted(bundles.length, "bundle") : `${number(found.length)} of ${counted(bundles.length, "bundle")}`;
    $("more").hidden = shown.length === found.length;
    $("more").firstElementChild.textContent = `Show ${number(Math.min(MORE, found.length - shown.length))} more of ${number(found.length)}`;
    const by = view.sort.replace("-", "");
    for (const head of document.querySelectorAll("th[data-sort]")) {
      if (head.dataset.sort === by) head.setAttribute("aria-sort", view.sort.startsWith("-") ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  };
  const change = (changes) => {
    Object.assign(view, { shown: STEP }, changes);
    keep();
    draw();
  };

  const copy = async (button) => {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // not over plain HTTP
      const field = el("textarea", { readonly: true, class: "hide" });
      field.value = text;
      button.after(field);
      field.select();
      document.execCommand("copy");
      field.remove();
      button.focus();
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  };
  const toggle = (at) => {
    const bundle = bundles[at];
    change({ open: view.open === bundle.key ? "" : bundle.key, shown: view.shown });
    document.querySelector(`tr[data-at="${at}"] .open-it`).focus();
  };

  // Where the window is narrow a row is no row of a table for the browser, but still one for who listens.
  for (const [tag, role] of [["table", "table"], ["thead", "rowgroup"], ["tbody", "rowgroup"], ["tr", "row"], ["th", "columnheader"]]) {
    for (const one of document.querySelectorAll(`#app ${tag}`)) one.setAttribute("role", role);
  }
  $("tools").addEventListener("submit", (event) => event.preventDefault());
  $("find").addEventListener("input", () => change({ q: $("find").value.trim() }));
  for (const name of ["state", "platform"]) $(name).addEventListener("change", () => change({ [name]: $(name).value }));
  $("inside").addEventListener("change", () => change({ inside: $("inside").checked }));
  $("more").firstElementChild.addEventListener("click", () => {
    const before = $("rows").querySelectorAll("tr.bundle").length;
    view.shown = Math.max(view.shown, before) + MORE;
    draw();
    $("rows").querySelectorAll("tr.bundle")[before]?.querySelector(".open-it").focus();
  });
  for (const head of document.querySelectorAll("th[data-sort] button")) {
    head.addEventListener("click", () => {
      const by = head.parentElement.dataset.sort, first = ["name", "state", "platform"].includes(by) ? by : `-${by}`;
      const other = first === by ? `-${by}` : by;
      change({ sort: view.sort === first ? other : view.sort === other ? "" : first });
    });
  }
  $("rows").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.copy) copy(button);
    else if (button?.classList.contains("open-it")) toggle(Number(button.closest("tr").dataset.at));
  });
  $("rows").addEventListener("keydown", (event) => {
    if (event.key === "Escape" && view.open) {
      const at = bundles.findIndex((one) => one.key === view.open);
      if (at >= 0) toggle(at);
    }
  });
  addEventListener("hashchange", () => { read(); draw(); });
  read();
  draw();
  $("app").hidden = false;
  if (view.open) document.querySelector("tr.bundle.open")?.scrollIntoView({ block: "start" });
})();
