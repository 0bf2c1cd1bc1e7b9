import { BlockList, isIP, isIPv4 } from "node:net";
import type { IncomingHttpHeaders } from "node:http";

/** Eight groups of an IPv6 address; undefined when it is none. */
function groupsOf(address: string): number[] | undefined {
  if (isIP(address) !== 6) return undefined;
  const [head = "", tail] = withoutDots(address).split("::");
  const read = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const before = read(head);
  if (tail === undefined) return before;
  const after = read(tail);
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** The same address with an IPv4 at its end written as two groups. */
function withoutDots(address: string): string {
  return address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
}

/**
 * One way to write an address: whatever spelling a socket or a header has, one client has one name. IPv4 seen through an IPv6 socket
 * (`::ffff:1.2.3.4`, `::ffff:102:304`) is IPv4, or it would have a second set of everything.
 * @returns undefined for what is no address
 */
export function canonicalAddress(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const address = text
    .trim()
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/%.*$/, "");
  if (isIPv4(address)) return address;
  const groups = groupsOf(address);
  if (groups === undefined) return undefined;
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  const [high = 0, low = 0] = groups.slice(6);
  if (mapped) return [high >> 8, high & 255, low >> 8, low & 255].join(".");
  return groups.map((group) => group.toString(16)).join(":");
}

/** Whether a canonical address is this machine's own. */
export function isLoopback(canonical: string): boolean {
  return /^127\./.test(canonical) || canonical === "0:0:0:0:0:0:0:1";
}

/** What is counted for limits: an IPv4 address, or the /64 of an IPv6 one, of which one household has all. */
export function limitKeyOf(canonical: string): string {
  return canonical.includes(":") ? canonical.split(":").slice(0, 4).join(":") : canonical;
}

/** Headers that only proxies write. */
const PROXY_HEADERS = [
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
  "via",
] as const;

/** Where a request came from. */
export interface Origin {
  /** Canonical address of the client; `unknown` when its socket is gone. */
  address: string;
  /** It came from a program on this machine straight to this service. */
  local: boolean;
}

/** Tells where requests come from. */
export class Whereabouts {
  readonly #proxies = new BlockList();
  readonly #any: boolean;

  /** @param trusted addresses and ranges of the proxies that are believed */
  constructor(trusted: readonly string[]) {
    this.#any = trusted.length > 0;
    for (const one of trusted) {
      const [address = "", prefix] = one.split("/");
      const family = isIPv4(address) ? "ipv4" : "ipv6";
      if (prefix === undefined) this.#proxies.addAddress(address, family);
      else this.#proxies.addSubnet(address, Number(prefix), family);
    }
  }

  /**
   * Where a request came from. `X-Forwarded-For` is read from its right end, where the nearest proxy wrote, and only as far as proxies that
   * are believed go on. What a header says is never this machine, whatever it says.
   */
  of(remoteAddress: string | undefined, headers: IncomingHttpHeaders): Origin {
    const peer = canonicalAddress(remoteAddress) ?? "unknown";
    const passedOn = PROXY_HEADERS.some((name) => headers[name] !== undefined);
    if (!passedOn) return { address: peer, local: isLoopback(peer) };
    let address = peer;
    if (this.#any) {
      const said = [headers["x-forwarded-for"] ?? []].flat().join(",").split(",");
      for (let at = said.length - 1; at >= 0 && this.#trusts(address); at--) {
        const next = canonicalAddress(said[at]);
        if (next === undefined) break;
        address = next;
      }
    }
    return { address, local: false };
  }

  #trusts(canonical: string): boolean {
    return canonical !== "unknown" && this.#proxies.check(canonical, canonical.includes(":") ? "ipv6" : "ipv4");
  }
}
