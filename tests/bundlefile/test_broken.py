"""Broken bundle files, each with the exact lines it is refused with."""

# ruff: noqa: E501 (the lines are data)

from __future__ import annotations

import pytest

IMAGES = "images: {a: 'oci:a'}\n"
NAME_RULE = "use letters, digits, '.', '_' and '-', the first a letter or digit"
PROCESS_KEYS = "args, env, cwd, user, terminal"
SIZES = "write e.g. 500M, 20G or 1.5T"
NO_TRANSPORT = (
    "names no known transport (oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE-or-DIR[:REPOSITORY:TAG], "
    "dir:DIR, docker://[HOST/]REPOSITORY[:TAG][@DIGEST])"
)

# what is wrong, the main file, the lines without "bundle.yaml:"
ONE_FILE: list[tuple[str, str, list[str]]] = [
    # -- the file as a whole
    ("empty", "", ["1:1: the file is empty; name at least one image under 'images'"]),
    ("only comments", "# nothing\n", ["1:1: the file is empty; name at least one image under 'images'"]),
    ("a list", "- a\n", ["1:1: expected a mapping, found a list"]),
    ("a word", "oci:a\n", ["1:1: expected a mapping, found the string 'oci:a'"]),
    ("no images", "profile: v0.8\n", ["1:1: images: is missing; name at least one image"]),
    ("empty images", "images: {}\n", ["1:9: images: the mapping is empty; name at least one image"]),
    ("null images", "images:\n", ["1:8: images: expected a mapping, found nothing (null)"]),
    ("list of images", "images: [oci:a]\n", ["1:9: images: expected a mapping, found a list"]),
    # -- YAML
    (
        "broken flow",
        "images: {a: [\n",
        ["2:1: not YAML: did not find expected node content"],
    ),
    (
        "broken block",
        "images:\n  a: oci:a\n b: oci:b\n",
        ["3:2: not YAML: did not find expected key (while parsing a block mapping that began at 1:1)"],
    ),
    ("colon in a value", "images: a: b\n", ["1:10: not YAML: mapping values are not allowed in this context"]),
    (
        "tab",
        "images:\n\ta: oci:a\n",
        [
            "2:1: not YAML: found character that cannot start any token; indent with spaces, not tabs"
        ],
    ),
    ("control character", "images: {a: 'oci:\x1b'}\n", ["1:18: not YAML: the character U+001B is not allowed"]),
    (
        "two documents",
        IMAGES + "---\n" + IMAGES,
        ["2:1: a second YAML document begins here; a file holds one"],
    ),
    ("unknown tag", "images: {a: !x oci:a}\n", ["1:13: tag '!x' is not known; leave it out"]),
    ("python tag", "images: !!python/none {}\n", [
        "1:9: images: the mapping is empty; name at least one image",
        "1:9: tag '!!python/none' is not known; leave it out",
    ]),
    ("undefined alias", "images: *x\n", [
        "1:9: alias '*x': no anchor '&x' stands before it; if it is none: put it in quotes"
    ]),
    ("recursion", "images: &x {a: *x}\n", ["1:16: alias '*x': stands inside what it repeats"]),
    ("recursive merge", "images: &x {<<: *x}\n", ["1:17: alias '*x': stands inside what it repeats"]),
    ("deep", "images: " + "[" * 100 + "]" * 100, ["1:72: nested deeper than 64 levels"]),
    ("very deep", "[" * 300_000, ["1:1001: nested deeper than 64 levels"]),
    ("deep block", "".join(f"{' ' * n}a:\n" for n in range(100)), ["65:65: nested deeper than 64 levels"]),
    (
        "deep by aliases",
        "x:\n- &a0 {}\n" + "".join(f"- &a{n} {{a: *a{n - 1}}}\n" for n in range(1, 100)),
        ["63:12: alias '*a60': nested deeper than 64 levels"],
    ),
    (
        "alias bomb",
        "x:\n- &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)),
        ["6:43: alias '*a3': aliases repeat more than 100000 nodes"],
    ),
    # -- keys
    ("unknown key", IMAGES + "platform: []\n", ["2:1: platform: unknown key; did you mean 'platforms'?"]),
    ("hyphen", "images:\n  a:\n    source: oci:a\n    same-owner: true\n", [
        "4:5: images.a.same-owner: unknown key; did you mean 'same_owner'?"
    ]),
    ("capital", IMAGES + "Profile: v0.3\n", ["2:1: Profile: unknown key; did you mean 'profile'?"]),
    ("key of boot", "images:\n  a:\n    source: oci:a\n    debug: true\n", [
        "4:5: images.a.debug: unknown key; write it as boot: {debug: ...}"
    ]),
    ("far from any", "images: {a: {source: 'oci:a', process: {xyz: 1}}}\n", [
        f"1:41: images.a.process.xyz: unknown key; known here: {PROCESS_KEYS}"
    ]),
    ("control in key", IMAGES + '"\\e[1m": 1\n', [
        "2:1: \\x1b[1m: unknown key; known here: profile, platforms, share, output, cache, name, cache_max_size, keep_runs, cache_trust, max_layer_size, workers, engine, "
        "registries, keep_blobs, remote_cache, lock, strict, defaults, include, images"
    ]),
    ("lock", IMAGES + "lock: x\n", ["2:7: lock: 'x' is not one of remote, all"]),
    ("a remote cache's password", IMAGES + "remote_cache: {url: 'https://me:secret@h.example/x', trust: [ci.key]}\n", [
        "2:21: remote_cache.url: 'https://***@h.example/x' holds a name or a password: give them to the environment",
        "2:62: remote_cache.trust[0]: 'ci.key' is a private key, by its name; name ci.pub",
    ]),
    ("a remote cache's keys", IMAGES + "remote_cache: {url: 'file://host/x', trust: [ci.key, b.pub], agree: 2}\n", [
        "2:21: remote_cache.url: 'file://host/x' names no folder: write file:///FOLDER",
        "2:46: remote_cache.trust[0]: 'ci.key' is a private key, by its name; name ci.pub",
    ]),
    ("a remote cache's one key", IMAGES + "remote_cache: {url: 'file:///x', trust: [ci.key]}\n", [
        "2:42: remote_cache.trust[0]: 'ci.key' is a private key, by its name; name ci.pub",
    ]),
    ("a source with a password", "images: {a: 'https://me:secret@h.example/x'}\n", [
        f"1:13: images.a: 'https://***@h.example/x' {NO_TRANSPORT}",
    ]),
    ("a host with a password", IMAGES + "registries: {'https://me:secret@h.example': {}}\n", ["2:14: registries: 'https://***@h.example' is not a host, with or without a port"]),
    ("a tag and a digest", IMAGES + "lock: 'docker://web:1@sha256:12'\n", ["2:7: lock: 'docker://web:1@sha256:12' is not one of remote, all"]),
    ("a registry's keys", IMAGES + "registries: {h.example: {insecur: true, mirrors: [a/B, 'http://m', 7]}}\n", [
        "2:26: registries.h.example.insecur: unknown key; did you mean 'insecure'?",
        "2:51: registries.h.example.mirrors[0]: 'a/B' is not a host, with or without a port and a path",
        "2:56: registries.h.example.mirrors[1]: 'http://m' is a URL; write m, and registries: {'m': {insecure: true}}",
        "2:68: registries.h.example.mirrors[2]: expected a mirror's host, such as mirror.example:5000, found the number 7",
    ]),
    ("a registry's name", IMAGES + "registries: {'https://x': {}, a: 1}\n", [
        "2:14: registries: 'https://x' is not a host, with or without a port; write x",
        "2:34: registries.a: expected a mapping, found the number 1",
    ]),
    ("source in defaults", IMAGES + "defaults: {source: 'oci:a'}\n", [
        "2:12: defaults.source: only a single image may set this"
    ]),
    ("key twice", IMAGES + "profile: v0.3\nprofile: v0.8\n", ["3:1: profile: is given twice; first at bundle.yaml:2:1"]),
    ("key twice, both wrong", IMAGES + "profile: a\nprofile: b\n", [
        "2:10: profile: 'a' is not one of v0.8, v0.3",
        "3:1: profile: is given twice; first at bundle.yaml:2:1",
        "3:10: profile: 'b' is not one of v0.8, v0.3",
    ]),
    ("merge key twice", "images:\n  a: &a {source: 'oci:a'}\n  b: {<<: *a, <<: *a}\n", [
        "3:15: images.b.<<: is given twice; first at bundle.yaml:3:7"
    ]),
    ("merge of a word", "images:\n  a: {<<: x, source: 'oci:a'}\n", [
        "2:11: images.a.<<: expected a mapping, found the string 'x'"
    ]),
    ("mistake in an alias, told once", "defaults: {boot: &b {debugg: true}}\nimages: {a: {source: 'oci:a', boot: *b}}\n", [
        "1:22: defaults.boot.debugg: unknown key; did you mean 'debug'?"
    ]),
    ("a list as key", "images: {[a]: 'oci:a'}\n", [
        "1:10: images: expected a key, found a list"
    ]),
    # -- names and entries of images
    ("name", "images: {'a b': 'oci:a'}\n", [f"1:10: images: 'a b' is not a name for an image; {NAME_RULE}"]),
    ("name with =", "images: {a=b: 'oci:a'}\n", [f"1:10: images: 'a=b' is not a name for an image; {NAME_RULE}"]),
    ("name with /", "images: {a/b: 'oci:a'}\n", [f"1:10: images: 'a/b' is not a name for an image; {NAME_RULE}"]),
    ("hidden name", "images: {.parts: 'oci:a'}\n", [f"1:10: images: '.parts' is not a name for an image; {NAME_RULE}"]),
    ("name with a newline", 'images: {"a\\n": "oci:a"}\n', [
        f"1:10: images: 'a\\n' is not a name for an image; {NAME_RULE}"
    ]),
    ("empty name", "images: {'': 'oci:a'}\n", [f"1:10: images: '' is not a name for an image; {NAME_RULE}"]),
    ("the catalog's name", "images: {catalog.json: 'oci:a'}\n", [
        "1:10: images: 'catalog.json' is the name of a file of the catalog; choose another name"
    ]),
    ("long name", f"images: {{{'a' * 201}: 'oci:a'}}\n", [
        f"1:10: images: the name '{'a' * 80}...' is longer than 200 characters"
    ]),
    ("name twice", "images:\n  a: oci:a\n  a: oci:b\n", ["3:3: images.a: is given twice; first at bundle.yaml:2:3"]),
    ("null image", "images:\n  a:\n", [
        "2:5: images.a: expected a source such as oci:DIR, or a mapping, found nothing (null)"
    ]),
    ("list image", "images: {a: []}\n", [
        "1:13: images.a: expected a source such as oci:DIR, or a mapping, found a list"
    ]),
    ("no source", "images: {a: {profile: v0.3}}\n", ["1:10: images.a.source: is missing; write e.g. source: oci:DIR"]),
    ("empty image", "images: {a: {}}\n", ["1:10: images.a.source: is missing; write e.g. source: oci:DIR"]),
    # -- sources
    ("number as source", "images: {a: 12}\n", ["1:13: images.a: expected a source such as oci:DIR, found the number 12"]),
    ("empty source", "images: {a: ''}\n", ["1:13: images.a: expected a source such as oci:DIR, found an empty string"]),
    ("no transport", "images: {a: x}\n", [f"1:13: images.a: 'x' {NO_TRANSPORT}"]),
    ("transport's typo", "images: {a: 'oci-archiv:x'}\n", [
        f"1:13: images.a: 'oci-archiv:x' {NO_TRANSPORT}; did you mean 'oci-archive'?"
    ]),
    ("no path", "images: {a: 'oci:'}\n", ["1:13: images.a: 'oci:' names no path (oci:DIR[:TAG])"]),
    ("docker without //", "images: {a: 'docker:x'}\n", [
        "1:13: images.a: 'docker:x' names no image (docker://[HOST/]REPOSITORY[:TAG][@DIGEST])"
    ]),
    ("upper case", "images: {a: 'docker://h.example/Web'}\n", [
        "1:13: images.a: 'h.example/Web': 'Web' must be in lower case"
    ]),
    ("odd position", "images: {a: 'oci:x:@y'}\n", [
        "1:13: images.a: 'oci:x:@y': '@y' is neither a digest (@sha256:...) nor a position (@0, @1, ...)"
    ]),
    ("NUL in a path", 'images: {a: "oci:\\0"}\n', ["1:13: images.a: 'oci:\\x00' holds a control character"]),
    # -- platforms and profile
    ("platforms, a word", IMAGES + "platforms: linux/amd64\n", [
        "2:12: platforms: expected a list of platforms, found the string 'linux/amd64'; write [linux/amd64]"
    ]),
    ("no platforms", IMAGES + "platforms: []\n", [
        "2:12: platforms: the list is empty; leave the key out, or write e.g. [linux/amd64]"
    ]),
    ("null platforms", IMAGES + "platforms:\n", ["2:11: platforms: expected a list of platforms, found nothing (null)"]),
    ("the same", IMAGES + "platforms: [linux/arm64, linux/arm64]\n", ["2:26: platforms[1]: 'linux/arm64' is given twice"]),
    ("normal forms", IMAGES + "platforms: [linux/arm64, linux/arm64/v8, linux/aarch64]\n", [
        "2:26: platforms[1]: 'linux/arm64/v8' is given twice (it is linux/arm64)",
        "2:42: platforms[2]: 'linux/aarch64' is given twice (it is linux/arm64)",
    ]),
    ("x86_64", IMAGES + "platforms: [linux/x86_64, linux/amd64/v1]\n", [
        "2:27: platforms[1]: 'linux/amd64/v1' is given twice (it is linux/amd64)"
    ]),
    ("arm", IMAGES + "platforms: [linux/arm, linux/armhf]\n", [
        "2:24: platforms[1]: 'linux/armhf' is given twice (it is linux/arm/v7)"
    ]),
    ("bare architecture", IMAGES + "platforms: [aarch64]\n", [
        "2:13: platforms[0]: 'aarch64' is not a platform (os/architecture or os/architecture/variant); "
        "did you mean 'linux/aarch64'?"
    ]),
    ("architecture", IMAGES + "platforms: [linux/amd46]\n", [
        "2:13: platforms[0]: 'linux/amd46': unknown architecture 'amd46'; did you mean 'linux/amd64'?"
    ]),
    ("system's typo", IMAGES + "platforms: [linx/arm/v7]\n", [
        "2:13: platforms[0]: 'linx/arm/v7': the VM runs Linux, and so only linux/... can run in it; "
        "did you mean 'linux/arm/v7'?"
    ]),
    ("windows", IMAGES + "platforms: [windows/amd64]\n", [
        "2:13: platforms[0]: 'windows/amd64': the VM runs Linux, and so only linux/... can run in it"
    ]),
    ("null platform", IMAGES + "platforms: [~]\n", [
        "2:13: platforms[0]: expected a platform (os/architecture or os/architecture/variant), found nothing (null)"
    ]),
    ("profile", IMAGES + "profile: v0.9\n", ["2:10: profile: 'v0.9' is not one of v0.8, v0.3"]),
    ("profile, a number", IMAGES + "profile: 0.8\n", [
        "2:10: profile: expected v0.8 or v0.3, found the number 0.8; did you mean 'v0.8'?"
    ]),
    ("platforms twice", IMAGES + "platforms: [linux/amd64]\ndefaults: {platforms: [linux/arm64]}\n", [
        "3:23: defaults.platforms: 'platforms' is also set at bundle.yaml:2:12; keep one of them"
    ]),
    # -- forms
    ("unknown form", IMAGES + "defaults: {rootfs: [dri, qcow2]}\n", [
        "2:21: defaults.rootfs[0]: unknown form 'dri'; did you mean 'dir'?",
        "2:26: defaults.rootfs[1]: unknown form 'qcow2'; known: dir, tar, cpio, iso, ext4, squashfs, erofs, context, "
        "imagemounter, 9p",
    ]),
    ("form with an unknown option", IMAGES + "defaults: {rootfs: [{form: iso, tre: vm}, {form: cpio, size: 1G}]}\n", [
        "2:33: defaults.rootfs[0].tre: form 'iso' has no such option; did you mean 'tree'?",
        "2:56: defaults.rootfs[1].size: form 'cpio' has no such option; it has none",
    ]),
    ("form without a name", IMAGES + "defaults: {rootfs: [{size: 1G}]}\n", [
        "2:21: defaults.rootfs[0]: 'form' is missing; write e.g. {form: iso, tree: vm}"
    ]),
    ("options of forms", IMAGES + "defaults: {rootfs: [{form: iso, tree: VM}, {form: ext4, size: big, journal: yes}]}\n", [
        "2:39: defaults.rootfs[0].tree: 'VM' is not one of rootfs, vm; did you mean 'vm'?",
        "2:63: defaults.rootfs[1].size: expected a size, found the string 'big'; write e.g. 500M, 20G or 1.5T",
        "2:77: defaults.rootfs[1].journal: expected true or false, found the string 'yes'; write true",
    ]),
    ("levels", IMAGES + "defaults: {rootfs: [{form: tar, level: 1}, {form: tar, compression: gzip, level: 9}]}\n", [
        "2:40: defaults.rootfs[0].level: there is no compression; add compression: zstd",
        "2:82: defaults.rootfs[1].level: gzip has the levels 1 to 3",
    ]),
    ("level of what is none", IMAGES + "defaults: {rootfs: [{form: tar, compression: bzip2, level: 9}]}\n", [
        "2:46: defaults.rootfs[0].compression: 'bzip2' is not one of gzip, zstd",
    ]),
    ("folder twice", IMAGES + "defaults: {rootfs: [9p, dir]}\n", [
        "2:20: defaults.rootfs: 9p and dir are the same folder of files; name one of them"
    ]),
    ("form twice, with options", IMAGES + "defaults: {rootfs: [tar, {form: tar}, {form: iso, tree: vm}, {form: iso, tree: vm}]}\n", [
        "2:26: defaults.rootfs[1]: form 'tar' is given twice",
        "2:62: defaults.rootfs[3]: form 'iso-vm' is given twice",
    ]),
    ("form twice", IMAGES + "defaults: {rootfs: [dir, dir]}\n", ["2:26: defaults.rootfs[1]: 'dir' is given twice"]),
    # -- booleans
    ("yes", IMAGES + "defaults: {same_owner: yes}\n", [
        "2:24: defaults.same_owner: expected true or false, found the string 'yes'; write true"
    ]),
    ("off", IMAGES + "defaults: {boot: {debug: off}}\n", [
        "2:26: defaults.boot.debug: expected true or false, found the string 'off'; write false"
    ]),
    ("quoted", IMAGES + "defaults: {process: {terminal: 'true'}}\n", [
        "2:32: defaults.process.terminal: expected true or false, found the string 'true'; write true, without quotes"
    ]),
    ("one", IMAGES + "defaults: {same_owner: 1}\n", [
        "2:24: defaults.same_owner: expected true or false, found the number 1; write true"
    ]),
    ("null boolean", IMAGES + "defaults: {same_owner: }\n", [
        "2:24: defaults.same_owner: expected true or false, found nothing (null)"
    ]),
    # -- process
    ("args, a word", IMAGES + "defaults: {process: {args: sh -c x}}\n", [
        "2:28: defaults.process.args: expected a list of strings, found the string 'sh -c x'; write [sh, -c, x]"
    ]),
    ("no args", IMAGES + "defaults: {process: {args: []}}\n", [
        "2:28: defaults.process.args: the list is empty; leave the key out, or write e.g. [/bin/sh]"
    ]),
    ("null and list in args", IMAGES + "defaults: {process: {args: ['', ~, []]}}\n", [
        "2:29: defaults.process.args[0]: the program's name is empty",
        "2:33: defaults.process.args[1]: expected a string or a number, found nothing (null); write '' for an empty one",
        "2:36: defaults.process.args[2]: expected a string or a number, found a list",
    ]),
    ("NUL in args", IMAGES + 'defaults: {process: {args: ["a\\0b"]}}\n', [
        "2:29: defaults.process.args[0]: 'a\\x00b' holds a character that no process can be given"
    ]),
    ("env, a list", IMAGES + "defaults: {process: {env: [A=b]}}\n", [
        "2:27: defaults.process.env: expected a mapping, found a list"
    ]),
    ("variable's name", IMAGES + "defaults: {process: {env: {'A=': b, '': c}}}\n", [
        "2:28: defaults.process.env: 'A=' cannot be the name of a variable",
        "2:37: defaults.process.env: '' cannot be the name of a variable",
    ]),
    ("variable's value", IMAGES + "defaults: {process: {env: {A: []}}}\n", [
        "2:31: defaults.process.env.A: expected a string, a number, true, false or null, found a list"
    ]),
    ("cwd", IMAGES + "defaults: {process: {cwd: srv}}\n", [
        "2:27: defaults.process.cwd: 'srv' is not an absolute path; begin it with '/'"
    ]),
    *(
        (f"user {text}", IMAGES + f"defaults: {{process: {{user: {text}}}}}\n", [f"2:28: defaults.process.user: {wrong}"])
        for text, wrong in [
            ("017", "017 may be read as different numbers; write it in decimal, or in quotes"),
            ("0o17", "0o17 may be read as different numbers; write it in decimal, or in quotes"),
            ("0x11", "0x11 may be read as different numbers; write it in decimal, or in quotes"),
            ("1_000", "1_000 may be read as different numbers; write it in decimal, or in quotes"),
            ("0:017", "0:017 may be read as different numbers; write it in decimal, or in quotes"),
            ("1.5", "expected a user's name or number, with or without :group, found the number 1.5"),
            ("-1", "expected a user's name or number, with or without :group, found the number -1"),
            ("true", "expected a user's name or number, with or without :group, found the boolean true"),
            ("''", "expected a user's name or number, with or without :group, found an empty string"),
            ('"a\\nb"', "'a\\nb' holds a control character"),
        ]
    ),
    # -- boot
    ("preset", IMAGES + "defaults: {boot: {preset: wasi}}\n", [
        "2:27: defaults.boot.preset: 'wasi' is not one of wasi-wizer, wasi-native, js, js-aarch64"
    ]),
    ("preset's typo", IMAGES + "defaults: {boot: {preset: wasi_wizzer}}\n", [
        "2:27: defaults.boot.preset: 'wasi_wizzer' is not one of wasi-wizer, wasi-native, js, js-aarch64; "
        "did you mean 'wasi-wizer'?"
    ]),
    ("boot, a word", IMAGES + "defaults: {boot: js}\n", [
        "2:18: defaults.boot: expected a mapping, found the string 'js'"
    ]),
    ("path in the VM", IMAGES + "defaults: {boot: {rootfs_path: oci/rootfs}}\n", [
        "2:32: defaults.boot.rootfs_path: 'oci/rootfs' is not an absolute path; begin it with '/'"
    ]),
    ("external bundle", "images:\n  a:\n    source: oci:a\n    profile: v0.3\n    boot: {external_bundle: true}\n", [
        "5:29: images.a.boot.external_bundle: profile v0.3 cannot have an external bundle; use profile v0.8"
    ]),
    ("inherited external bundle", (
        "defaults: {boot: {external_bundle: true}}\nimages:\n  a: {source: 'oci:a', profile: v0.3}\n  b: oci:b\n"
    ), [
        "3:3: images.a.boot.external_bundle: profile v0.3 cannot have an external bundle (set at bundle.yaml:1:36); "
        "use profile v0.8"
    ]),
    # -- share
    ("shared files that a VM writes to", "images:\n  a:\n    source: oci:a\n    share: true\n    rootfs: [9p]\n", [
        "4:12: images.a.share: form 9p, which a VM writes to, cannot share its files; write share: false for this image"
    ]),
    ("inherited shared files", (
        "share: true\nimages:\n  a: {source: 'oci:a', rootfs: [tar, 9p]}\n  b: oci:b\n"
        "  c: {source: 'oci:c', rootfs: [9p], share: false}\n"
    ), [
        "3:3: images.a.share: form 9p, which a VM writes to, cannot share its files (set at bundle.yaml:1:8); "
        "write share: false for this image"
    ]),
    ("share, twice", IMAGES + "share: true\ndefaults: {share: true}\n", [
        "3:19: defaults.share: 'share' is also set at bundle.yaml:2:8; keep one of them"
    ]),
    # -- sbom
    ("sbom, a word", IMAGES + "defaults: {sbom: spdx}\n", [
        "2:18: defaults.sbom: expected a list of formats, found the string 'spdx'; write [spdx]"
    ]),
    ("sbom, a typo", "images: {a: {source: 'oci:a', sbom: [spdx, cyclondx]}}\n", [
        "1:44: images.a.sbom[1]: 'cyclondx' is not one of spdx, cyclonedx; did you mean 'cyclonedx'?"
    ]),
    ("sbom, twice", IMAGES + "defaults: {sbom: [spdx, cyclonedx, spdx]}\n", [
        "2:36: defaults.sbom[2]: 'spdx' is given twice"
    ]),
    ("sbom, for the file", IMAGES + "sbom: [spdx]\n", ["2:1: sbom: unknown key; write it as defaults: {sbom: ...}"]),
    # -- cache_max_size
    ("no size", IMAGES + "cache_max_size: lots\n", [f"2:17: cache_max_size: expected a size, found the string 'lots'; {SIZES}"]),
    ("size, negative", IMAGES + "cache_max_size: -1\n", [f"2:17: cache_max_size: expected a size, found the number -1; {SIZES}"]),
    ("size, octal", IMAGES + "cache_max_size: 010\n", [f"2:17: cache_max_size: expected a size, found the number 010; {SIZES}"]),
    ("size, null", IMAGES + "cache_max_size:\n", [f"2:16: cache_max_size: expected a size, found nothing (null); {SIZES}"]),
    ("size, a list", IMAGES + "cache_max_size: [1G]\n", [f"2:17: cache_max_size: expected a size, found a list; {SIZES}"]),
    ("size, vast", IMAGES + f"cache_max_size: {'9' * 400}\n", [
        f"2:17: cache_max_size: expected a size, found the number {'9' * 80}; {SIZES}"
    ]),
    # -- workers
    ("no workers", IMAGES + "workers: 0\n", ["2:10: workers: expected a number from 1 to 9999, found the number 0"]),
    ("workers, octal", IMAGES + "workers: 010\n", [
        "2:10: workers: expected a number from 1 to 9999, found the number 010"
    ]),
    ("workers, quoted", IMAGES + "workers: '2'\n", [
        "2:10: workers: expected a number from 1 to 9999, found the string '2'; write 2, without quotes"
    ]),
    ("workers, a word", IMAGES + "workers: all\n", [
        "2:10: workers: expected a number from 1 to 9999, found the string 'all'"
    ]),
    # -- engine
    ("engine, a word", IMAGES + "engine: dask\n", ["2:9: engine: expected a mapping, found the string 'dask'"]),
    ("engine, no port", IMAGES + "engine: {dask: 'tls://h.example'}\n", [
        "2:16: engine.dask: 'tls://h.example' is no address of a scheduler; write e.g. tls://HOST:8786"
    ]),
    ("engine, a number", IMAGES + "engine: {dask: 8786}\n", [
        "2:16: engine.dask: expected the address of a scheduler, found the number 8786"
    ]),
    ("engine, without TLS", IMAGES + "engine: {dask: 'tcp://h.example:8786', shard: 2}\n", [
        "2:16: engine.dask: 'tcp://h.example:8786' is another machine, without TLS: all who reach it could run programs "
        "there; write tls://h.example:8786",
        "2:40: engine.shard: unknown key; did you mean 'shards'?",
    ]),
    ("engine, no shards", IMAGES + "engine: {shards: 0}\n", [
        "2:18: engine.shards: expected a number from 1 to 9999, found the number 0"
    ]),
    # -- output and cache
    ("output, a number", IMAGES + "output: 12\n", ["2:9: output: expected a folder, found the number 12; put it in quotes"]),
    ("output is here", IMAGES + "output: x/..\n", ["2:9: output: '.' holds the bundle file itself; name a folder of its own"]),
    ("output above", IMAGES + "output: ../..\n", [
        "2:9: output: '../..' holds the bundle file itself; name a folder of its own"
    ]),
    ("output /", IMAGES + "output: /\n", ["2:9: output: '/' holds the bundle file itself; name a folder of its own"]),
    ("cache above", IMAGES + "cache: ..\n", ["2:8: cache: '..' holds the bundle file itself; name a folder of its own"]),
    ("one folder", IMAGES + "output: x\ncache: ./x/\n", [
        "3:8: cache: 'x' is the output 'x', or inside it; name another folder"
    ]),
    ("cache inside", IMAGES + "cache: bundles/cache\n", [
        "2:8: cache: 'bundles/cache' is the output 'bundles', or inside it; name another folder"
    ]),
    ("output inside", IMAGES + "output: cache/out\n", [
        "2:9: output: 'cache/out' is inside the cache 'cache'; name another folder"
    ]),
    ("home", IMAGES + "cache: ~/.cache\n", [
        "2:8: cache: '~/.cache': '~' is not expanded; write the path out, or './~' for that very name"
    ]),
    # -- include
    ("include, a word", "include: teams/*.yaml\n", [
        "1:10: include: expected a list of paths or glob patterns, found the string 'teams/*.yaml'; write [teams/*.yaml]"
    ]),
    ("no include", IMAGES + "include: []\n", [
        "2:10: include: the list is empty; leave the key out, or write e.g. [teams/*/bundle.yaml]"
    ]),
    ("no match", "include: [teams/*/bundle.yaml, b.yaml]\n", [
        "1:11: include[0]: 'teams/*/bundle.yaml' matches no file", "1:32: include[1]: 'b.yaml' matches no file"
    ]),
    ("any depth", IMAGES + "include: ['**/bundle.yaml']\n", [
        "2:11: include[0]: '**/bundle.yaml': '**' is not supported; write a '*' for each level"
    ]),
    ("folder", IMAGES + "include: [/]\n", ["2:11: include[0]: the file '/' cannot be read: it is not a regular file"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "want"), [pytest.param(*row[1:], id=row[0]) for row in ONE_FILE])
def test_one_file(mistakes, text, want):
    assert mistakes({"bundle.yaml": text}) == [f"bundle.yaml:{line}" for line in want]
