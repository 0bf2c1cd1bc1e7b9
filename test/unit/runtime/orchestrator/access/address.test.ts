import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  canonicalAddress,
  isLoopback,
  limitKeyOf,
  Whereabouts,
} from "../../../../../runtime/orchestrator/access/address.ts";

describe("an address", () => {
  test.each([
    ["127.0.0.1", "127.0.0.1"],
    ["::ffff:127.0.0.1", "127.0.0.1"],
    ["::FFFF:7f00:1", "127.0.0.1"],
    ["0:0:0:0:0:ffff:7f00:0001", "127.0.0.1"],
    ["[::1]", "0:0:0:0:0:0:0:1"],
    ["2001:DB8::1", "2001:db8:0:0:0:0:0:1"],
    ["fe80::1%eth0", "fe80:0:0:0:0:0:0:1"],
    ["64:ff9b::1.2.3.4", "64:ff9b:0:0:0:0:102:304"],
    ["unknown", undefined],
    ["1.2.3", undefined],
    ["127.0.0.1, 10.0.0.1", undefined],
    ["", undefined],
  ])("%s has one spelling", (written, canonical) => {
    expect(canonicalAddress(written)).toBe(canonical);
  });

  test("of IPv4 is the same through an IPv6 socket, in either spelling", () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
        const hex = `::ffff:${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
        expect(canonicalAddress(`::ffff:${address}`)).toBe(address);
        expect(canonicalAddress(hex)).toBe(address);
      }),
    );
  });

  test("of IPv6 has one spelling, and all of its /64 count as one", () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const canonical = canonicalAddress(address);
        expect(canonicalAddress(canonical)).toBe(canonical);
        expect(canonicalAddress(address.toUpperCase())).toBe(canonical);
      }),
    );
    expect(limitKeyOf("2001:db8:1:2:aaaa:bbbb:cccc:dddd")).toBe(limitKeyOf("2001:db8:1:2:0:0:0:1"));
    expect(limitKeyOf("2001:db8:1:2:0:0:0:1")).not.toBe(limitKeyOf("2001:db8:1:3:0:0:0:1"));
  });

  test("is this machine's own for 127.0.0.0/8 and ::1 alone", () => {
    expect(["127.0.0.1", "127.9.9.9", "0:0:0:0:0:0:0:1"].map(isLoopback)).toEqual([true, true, true]);
    expect(["128.0.0.1", "0.0.0.0", "10.127.0.1", "0:0:0:0:0:0:0:0"].map(isLoopback)).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });
});

describe("where a request came from", () => {
  test("is the socket's word alone while no proxy is trusted", () => {
    const where = new Whereabouts([]);
    expect(where.of("::ffff:127.0.0.1", {})).toEqual({ address: "127.0.0.1", local: true });
    expect(where.of("10.0.0.9", { "x-forwarded-for": "127.0.0.1" })).toEqual({ address: "10.0.0.9", local: false });
    expect(where.of(undefined, {})).toEqual({ address: "unknown", local: false });
  });

  test.each([
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "via",
    "x-forwarded-host",
    "x-forwarded-proto",
  ])("is not this machine where a proxy on it passed the request on (%s)", (header) => {
    expect(new Whereabouts([]).of("127.0.0.1", { [header]: "anything" }).local).toBe(false);
  });

  test("is read from the right end, as far as trusted proxies go on", () => {
    const where = new Whereabouts(["10.0.0.0/8", "127.0.0.1", "fd00::/8"]);
    const from = (peer: string, header: string) => where.of(peer, { "x-forwarded-for": header }).address;
    expect(from("10.0.0.1", "203.0.113.9")).toBe("203.0.113.9");
    expect(from("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.2.3.4")).toBe("203.0.113.9");
    expect(from("::ffff:10.0.0.1", "203.0.113.9")).toBe("203.0.113.9");
    expect(from("fd00::7", "203.0.113.9")).toBe("203.0.113.9");
    expect(from("192.168.0.1", "203.0.113.9")).toBe("192.168.0.1");
    expect(from("10.0.0.1", "203.0.113.9, rubbish")).toBe("10.0.0.1");
  });

  test("is never this machine because a header says so", () => {
    const where = new Whereabouts(["10.0.0.0/8", "127.0.0.1"]);
    for (const said of ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.1, 10.0.0.2"])
      expect(where.of("10.0.0.1", { "x-forwarded-for": said }).local).toBe(false);
  });
});
