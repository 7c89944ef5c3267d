"""The table of all settings of `bundle.yaml`.

One row a setting feeds the checks, the hints for typing errors and the reference page. A key path names
images as NAME; a row whose kind is SECTION has the rows below its path as its keys.
"""

from __future__ import annotations

from dataclasses import fields

from c2wtasks.bundlefile.boot import PRESETS, Boot
from c2wtasks.bundlefile.engine import ADDRESS
from c2wtasks.bundlefile.forms import DEFAULT_FORM
from c2wtasks.bundlefile.profile import DEFAULT_PROFILE, PROFILES
from c2wtasks.bundlefile.remote import KEYS, SCOPE, URL
from c2wtasks.bundlefile.rootfs import ROOTFS
from c2wtasks.bundlefile.sbom import SBOM, SBOM_HELP
from c2wtasks.bundlefile.setting import Setting
from c2wtasks.bundlefile.values import (
    ABSOLUTE,
    ARGUMENTS,
    BOOLEAN,
    COUNT,
    FOLDER,
    MIRRORS,
    NAME,
    PATTERNS,
    PLATFORMS,
    SECTION,
    SIZE,
    SOURCE,
    USER,
    VARIABLES,
    choice,
)
from c2wtasks.errors import program
from c2wtasks.oci.transport import TRANSPORTS

IMAGE_PATH = "images.NAME"
REGISTRY_PATH = "registries.HOST"
REMOTE_PATH = "remote_cache"


def _written(default: object) -> str:
    """A default as bundle.yaml has it; an empty string is "none"."""
    return str(default).lower() if isinstance(default, bool) else str(default) or "none"


SETTINGS = (
    Setting(
        "profile",
        choice(*PROFILES),
        DEFAULT_PROFILE,
        "The version of create-spec whose JSON files are reproduced, for all images of the file that name none.",
        "v0.3",
    ),
    Setting(
        "platforms",
        PLATFORMS,
        "the machine's own, with Linux",
        "The platforms to build, for all images of the file that name none. `linux/aarch64` and `linux/arm64/v8` "
        "are `linux/arm64`, `linux/x86_64` is `linux/amd64`, `linux/arm` is `linux/arm/v7`.",
        "[linux/amd64, linux/arm64]",
    ),
    Setting(
        "share", BOOLEAN, "false", "Whether [what roots have alike](forms.md#shared-files) is on disk once.", "true"
    ),
    Setting(
        "output",
        FOLDER,
        "bundles",
        "The folder for the bundles and the catalog, relative to the main file's folder. The environment variable "
        "`C2WTASKS_OUTPUT`, when it is not empty, takes its place.",
        "bundles",
        only="main",
    ),
    Setting(
        "cache",
        FOLDER,
        "cache",
        "The folder of the layer store, relative to the main file's folder. May be shared by several catalogs. "
        "The environment variable `C2WTASKS_CACHE`, when it is not empty, takes its place.",
        "/var/cache/c2wtasks",
        only="main",
    ),
    Setting(
        "name",
        NAME,
        "told by a file beside it, or by where it lies",
        "What this catalog is called among those that share its cache: so it is the same one wherever it is checked "
        "out. No two of them may have one name.",
        "web-images",
        only="main",
    ),
    Setting(
        "cache_max_size",
        SIZE,
        "no limit",
        "How large the layer store may be. A run that ended well and finds it larger does what "
        "`doit gc --max-size` does. `20G` counts in 1024, `20GB` in 1000, a number alone in bytes.",
        "20G",
        only="main",
    ),
    Setting(
        "keep_runs",
        COUNT,
        "400",
        "How many runs are remembered ([`doit history`](records.md#the-history)): so many that changed or tried "
        "something, with [what they changed](records.md#what-changed), and as many more that found all current.",
        "1000",
        only="main",
    ),
    Setting(
        "cache_trust",
        choice("own", "group"),
        "own",
        "Whose word counts in a cache that others can write to. `own`: only your own, root's and that of who can "
        "write in the catalog's folder; what each user keeps there lies apart. `group`: that of all who can write "
        "there, who so share what is there. "
        "See [a shared cache](security.md#a-shared-cache).",
        "group",
        only="main",
    ),
    Setting(
        "max_layer_size",
        SIZE,
        "what is free on the cache's disk",
        "How large a layer may be, uncompressed. One that turns out to be larger fails, and is read no further. "
        "`20G` counts in 1024, `20GB` in 1000, a number alone in bytes.",
        "20G",
        only="main",
    ),
    Setting(
        "workers",
        COUNT,
        "the CPUs that a run may use",
        "How many tasks run at once, where `-n` does not say. Reading layers and writing roots is then spread over "
        "as many processes; with 1, all is done in one, one task after another.",
        "4",
        only="main",
    ),
    Setting(
        "engine",
        SECTION,
        "none",
        "Who builds the catalog with `doit spread`. See [many machines](how-to/many-machines.md#dask).",
        "{dask: 'tls://scheduler.example:8786'}",
        only="main",
    ),
    Setting(
        "engine.dask",
        ADDRESS,
        "none",
        "The scheduler of a Dask cluster; beyond this machine by TLS.",
        "tls://scheduler.example:8786",
    ),
    Setting(
        "engine.shards",
        COUNT,
        "8",
        "Into how many shards the catalog is split. Each stays with the machine that built it before, so another "
        "number begins from nothing.",
        "16",
    ),
    Setting(
        "registries",
        SECTION,
        "nothing",
        "What is special about registries, by host (with the port, where one is given). See "
        "[registries.md](registries.md).",
        "{docker.io: {mirrors: [mirror.example]}}",
        only="main",
    ),
    Setting(
        "registries.HOST.insecure",
        BOOLEAN,
        "false",
        "Whether the host may be asked by plain http, where it does not speak TLS. A certificate is verified anyway. "
        "This machine's own addresses may be, always.",
        "true",
    ),
    Setting(
        "registries.HOST.mirrors",
        MIRRORS,
        "none",
        "Hosts that are asked before this one, in that order. What follows the host, if anything, is put before the "
        "repository's name; with a part `v2` it is the path of the URL.",
        "[mirror.example, 'proxy.example:5000/hub']",
    ),
    Setting(
        "keep_blobs",
        BOOLEAN,
        "false",
        "Whether the compressed layers that were fetched from registries stay in the cache, too.",
        "true",
        only="main",
    ),
    Setting(
        REMOTE_PATH,
        SECTION,
        "none",
        "A cache that machines share, and never need: what one made, others take. See [scaling](scaling.md).",
        "{url: 'oci://registry.example/team/cache', trust: [keys/ci.pub]}",
        only="main",
    ),
    Setting(
        f"{REMOTE_PATH}.url",
        URL,
        "must be given",
        "Where it is: a repository of a registry (`oci://HOST/REPOSITORY`), a bucket (`s3://BUCKET/PREFIX`), a "
        "folder of a web server (`https://...`, `http://...`), or a folder here (`file:///FOLDER`).",
        "'oci://registry.example/team/cache'",
        required="write e.g. url: 'oci://registry.example/team/cache'",
    ),
    Setting(
        f"{REMOTE_PATH}.trust",
        KEYS,
        "must be given",
        "The files of the public keys whose word counts, relative to the main file's folder (`doit key new` makes).",
        "[keys/ci.pub]",
        required=f"write e.g. trust: [keys/ci.pub]; {program()} key new keys/ci makes a pair",
    ),
    Setting(
        f"{REMOTE_PATH}.write",
        BOOLEAN,
        "false",
        "Whether what is made here is written to it, by who has a key that signs it: `C2WTASKS_SIGNING_KEY`.",
        "true",
    ),
    Setting(f"{REMOTE_PATH}.agree", COUNT, "1", "How many of these keys must say the same.", "2"),
    Setting(f"{REMOTE_PATH}.scope", SCOPE, "main", "Of which scope is what is read, and what is written.", "main"),
    Setting(
        "lock",
        choice("remote", "all"),
        "remote",
        "Which images are in `bundle.lock`: those of registries, or those of local sources, too.",
        "all",
        only="main",
    ),
    Setting(
        "strict",
        BOOLEAN,
        "false",
        "Whether what a run would only note of a bundle fails it: what its root or a form lacks, for want of rights "
        "or by the form's nature, and what keeps the image from starting. A bundle that fails so is not published; "
        "one that stands already fails the run. `doit --strict` says the same for one run.",
        "true",
        only="main",
    ),
    Setting(
        "defaults",
        SECTION,
        "nothing",
        "Any settings of an image but its `source`, for all images of the file that do not set them.",
        "{boot: {preset: wasi-native}, process: {terminal: false}}",
    ),
    Setting(
        "include",
        PATTERNS,
        "nothing",
        "Other files to read, relative to the folder of the file that includes them. `*`, `?` and `[...]` stand "
        "for parts of one name; a pattern that matches no file is a mistake.",
        "[teams/*/bundle.yaml]",
    ),
    Setting(
        "images",
        SECTION,
        "nothing",
        "The images, by name. A name is made of letters, digits, `.`, `_` and `-`, begins with a letter or digit, "
        "and is unique across all files. An image is a mapping of the settings below, or just its source.",
        "{hello: 'oci:examples/hello'}",
    ),
    Setting(
        "images.NAME.source",
        SOURCE,
        "must be given",
        f"Where the image is, as one of: {', '.join(f'`{row.syntax}`' for row in TRANSPORTS.values())}. A path is "
        "relative to the file that names it; only that of `dir:` may hold colons. See [which image](#which-image).",
        "docker-archive:web.tar",
        only="image",
        required="write e.g. source: oci:DIR",
    ),
    Setting("images.NAME.platforms", PLATFORMS, "those of the file", "As at the top.", "[linux/riscv64]"),
    Setting("images.NAME.profile", choice(*PROFILES), "that of the file", "As at the top.", DEFAULT_PROFILE),
    Setting(
        "images.NAME.rootfs",
        ROOTFS,
        f"[{DEFAULT_FORM}]",
        "The forms in which the container's root is written, each a word, or a mapping with options: "
        "`{form: iso, tree: vm}`. See [the forms](forms.md).",
        "[dir, ext4]",
    ),
    Setting("images.NAME.share", BOOLEAN, "that of the file", "As at the top. The form `9p` cannot.", "true"),
    Setting("images.NAME.sbom", SBOM, "none", SBOM_HELP, "[spdx, cyclonedx]"),
    Setting(
        "images.NAME.same_owner",
        BOOLEAN,
        "true",
        "Whether files keep the owners that the layers give them. `false` is what create-spec does under "
        "`_NO_SAME_OWNER=1`.",
        "false",
    ),
    Setting(
        "images.NAME.process",
        SECTION,
        "as the image config says",
        "Overrides of what the container runs.",
        "{args: [httpd, -f], user: www-data}",
    ),
    Setting(
        "images.NAME.process.args",
        ARGUMENTS,
        "the image's Entrypoint and Cmd",
        "The program and its arguments, written to both `spec.json` and `image.json`. Numbers are taken as written.",
        "[httpd, -f, -p, 8080]",
    ),
    Setting(
        "images.NAME.process.env",
        VARIABLES,
        "the image's",
        "Variables to set, over those of the image. Numbers, `true` and `false` are taken as written; null (or no "
        "value at all) removes a variable, `''` makes it empty.",
        "{PORT: 8080, DEBUG: null}",
    ),
    Setting("images.NAME.process.cwd", ABSOLUTE, "the image's", "The folder it starts in.", "/srv"),
    Setting(
        "images.NAME.process.user",
        USER,
        "the image's",
        "Who runs it: a name or a number, or `user:group`. Numbers in decimal.",
        "1000:1000",
    ),
    Setting("images.NAME.process.terminal", BOOLEAN, "true", "Whether it gets a terminal.", "false"),
    Setting(
        "images.NAME.boot",
        SECTION,
        "create-spec's own flag defaults",
        "What `initconfig.json` tells the VM. Single settings go on top of the preset.",
        "{preset: js, debug: true}",
    ),
    Setting(
        "images.NAME.boot.preset",
        choice(*PRESETS),
        "none",
        "The flags that go with one way of building in container2wasm. An image's preset takes the place of all that "
        "`defaults` says of `boot`.",
        "wasi-wizer",
    ),
    *(Setting(f"images.NAME.boot.{row.name}", default=_written(row.default), **row.metadata) for row in fields(Boot)),
)
