import { z } from "zod";
import { PUT_FUNCTION, quote } from "../ssh/step-script.ts";
import { renderKillAll, renderUninstall } from "./units.ts";

/** The K3s that is installed unless told otherwise. A24 took whatever was newest that day, A27 speaks of v1.28. */
export const K3S_VERSION = "v1.34.2+k3s1";

/** Where releases lie, each in a folder of its version. */
export const K3S_RELEASE_URL = "https://github.com/k3s-io/k3s/releases/download";

/** A file fetched onto a node, with its checksum. */
const FetchedFile = z.strictObject({
  url: z.url({ protocol: /^https?$/, error: "want an http or https address" }),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, { error: "want 64 hexadecimal digits, lower case" }),
});

/** The release's arguments, as they are checked. */
export const K3sReleaseSchema = z.strictObject({
  version: z
    .string()
    .regex(/^v\d+\.\d+\.\d+(-rc\d+)?\+k3s\d+$/, { error: "want a full version such as v1.34.2+k3s1, not a channel" })
    .default(K3S_VERSION),
  releaseUrl: z.url({ protocol: /^https?$/, error: "want an http or https address" }).default(K3S_RELEASE_URL),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, { error: "want 64 hexadecimal digits, lower case" })
    .optional(),
  airgapImages: z.array(FetchedFile).default([]),
});

/** A checked release. */
export type K3sRelease = z.output<typeof K3sReleaseSchema>;

/** Which K3s, and where from. */
export interface K3sReleaseArgs {
  /** Exact version. @default "v1.34.2+k3s1" */
  version?: string;
  /** Folder of releases: `<releaseUrl>/<version>/k3s`. @default K3s' releases on GitHub */
  releaseUrl?: string;
  /** SHA-256 of the binary for the nodes' processor. @default - the release's own sha256sum-<arch>.txt */
  sha256?: string;
  /** Image archives that each node fetches into K3s' air-gap folder and imports at its start. @default - none */
  airgapImages?: readonly { url: string; sha256: string }[];
}

/** Folder of one release: a plus sign is not safe in a path. */
export function releaseFolder(release: K3sRelease): string {
  return `${release.releaseUrl.replace(/\/+$/, "")}/${encodeURIComponent(release.version)}`;
}

/** Where K3s looks for image archives. Source: K3s documentation, "Air-Gap Install". */
const IMAGE_FOLDER = "/var/lib/rancher/k3s/agent/images";

/**
 * Bash functions. `fetch URL FILE SHA256 MODE` goes on with a partial download of the same content, never leaves a wrong file
 * under its name, and does nothing when the right one is there.
 */
export const FETCH_FUNCTIONS = `get() { curl -fsSL --connect-timeout 15 --retry 5 --retry-all-errors --retry-delay 2 "$@"; }
digest() { sha256sum < "$1" | cut -d ' ' -f 1; }
fetch() {
  local url=$1 file=$2 want=$3 mode=$4 part attempt code got=none
  if [ -f "$file" ] && [ "$(digest "$file")" = "$want" ]; then chmod "$mode" "$file"; return 0; fi
  mkdir -p "$(dirname "$file")"
  part="$(dirname "$file")/.$want.part"
  for attempt in 1 2 3; do
    code=0
    get -C - --speed-limit 1024 --speed-time 60 -o "$part" "$url" || code=$?
    if [ -f "$part" ]; then got=$(digest "$part"); fi
    if [ "$got" = "$want" ]; then
      chmod "$mode" "$part"
      mv -f "$part" "$file"
      return 0
    fi
    # Whole and wrong, or no way to go on from here (22: refused, 33: no ranges): from the start. A broken line keeps its part.
    case "$code" in 0 | 22 | 33) rm -f "$part" ;; esac
  done
  if [ "$code" = 0 ]; then
    echo "$url: what came has the SHA-256 $got, want $want; check the address and the checksum in the settings" >&2
  else
    echo "$url: the download failed (curl: $code); can this machine reach it? What came is kept and gone on with" >&2
  fi
  return 1
}`;

/**
 * Bash that brings the binary and the images, each checked before it gets its name, and resumed when it broke off. Does
 * nothing when all is there.
 */
export function renderInstall(release: K3sRelease): string {
  const images = release.airgapImages.map(
    (image) => `fetch ${quote(image.url)} ${quote(`${IMAGE_FOLDER}/${fileNameOf(image.url)}`)} ${image.sha256} 0644`,
  );
  return `${PUT_FUNCTION}
command -v curl >/dev/null || { echo "curl is missing on this machine; add it to the packages of the VM" >&2; exit 69; }
case "$(uname -m)" in
  x86_64) suffix=""; sums=sha256sum-amd64.txt ;;
  aarch64) suffix=-arm64; sums=sha256sum-arm64.txt ;;
  *) echo "processor $(uname -m): K3s ${release.version} has no binary for it; take x86_64 or aarch64" >&2; exit 69 ;;
esac
base=${quote(releaseFolder(release))}
${FETCH_FUNCTIONS}
want=${release.sha256 ?? ""}
if [ -z "$want" ]; then
  want=$(get "$base/$sums" | awk -v name="k3s$suffix" '$2 == name { print $1 }')
  if [ -z "$want" ]; then echo "$base/$sums: names no k3s$suffix; set k3s.sha256" >&2; exit 1; fi
fi
fetch "$base/k3s$suffix" /usr/local/bin/k3s "$want" 0755
for tool in kubectl crictl ctr; do
  if ! command -v "$tool" >/dev/null; then ln -s k3s "/usr/local/bin/$tool"; fi
done
${images.join("\n")}
put /usr/local/bin/k3s-killall.sh 0755 <<'END_OF_FILE'
${renderKillAll()}
END_OF_FILE
put /usr/local/bin/k3s-uninstall.sh 0755 <<'END_OF_FILE'
${renderUninstall()}
END_OF_FILE
got=$(/usr/local/bin/k3s --version)
case "$got" in
  *${quote(release.version)}*) echo ${quote(release.version)} ;;
  *) echo "k3s --version says \\"$got\\", want ${release.version}; the checksum belongs to another version" >&2; exit 1 ;;
esac`;
}

function fileNameOf(url: string): string {
  const last = new URL(url).pathname.split("/").at(-1) ?? "";
  return decodeURIComponent(last).replaceAll(/[^A-Za-z0-9._-]/g, "_");
}
