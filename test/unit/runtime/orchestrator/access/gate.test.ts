import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  AccessConfigSchema,
  type AccessConfigInput,
  type KeyRecord,
} from "../../../../../runtime/contracts/access-config.ts";
import { AccessGate } from "../../../../../runtime/orchestrator/access/access-gate.ts";
import { Whereabouts } from "../../../../../runtime/orchestrator/access/address.ts";
import { Keyring } from "../../../../../runtime/orchestrator/access/keyring.ts";
import { MemoryMeter } from "../../../../../runtime/orchestrator/access/meter.ts";
import { hashOfKey, makeKey } from "../../../../../runtime/orchestrator/access/secret.ts";
import type { Admission, Knock } from "../../../../../runtime/orchestrator/gate.ts";
import { Fault } from "../../../../../runtime/core/fault.ts";

const NOON = Date.UTC(2026, 10, 21, 12);
const KEY = makeKey("ann");
const ANN: KeyRecord = { id: "ann", hash: hashOfKey(KEY), user: "ann", admin: false };

function gateOf(config: AccessConfigInput = {}, keys: KeyRecord[] = [ANN], origins: string[] = []) {
  const clock = { ms: NOON };
  const now = (): number => clock.ms;
  const spec = AccessConfigSchema.parse(config);
  const keyring = new Keyring({ keys });
  const refusals: string[] = [];
  const failures = new MemoryMeter(1_000, now);
  const gate = new AccessGate({
    config: spec,
    origins,
    keyring,
    whereabouts: new Whereabouts(spec.trustedProxies),
    meter: new MemoryMeter(1_000, now),
    failures,
    now,
    refused: (why) => refusals.push(why),
  });
  const admit = (from: string, headers: Knock["headers"] = {}, path = "/ask"): Admission =>
    gate.admit({ method: "POST", path, headers, remoteAddress: from }) as Admission;
  const fault = (from: string, headers: Knock["headers"] = {}, path = "/ask"): Fault => {
    try {
      admit(from, headers, path);
    } catch (error) {
      if (error instanceof Fault) return error;
      throw error;
    }
    throw new Error("was let in");
  };
  return { admit, fault, gate, clock, keyring, refusals, failures };
}

const bearer = (key: string): Knock["headers"] => ({ authorization: `Bearer ${key}` });

describe("without a key", () => {
  test("programs on this machine may ask, whatever their address is written as, and nobody else", () => {
    const { admit, fault } = gateOf();
    for (const from of ["127.0.0.1", "::1", "::ffff:127.0.0.1"]) expect(admit(from).principal).toMatch(/^at:/);
    for (const from of ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "0.0.0.0", ""]) {
      expect(fault(from)).toMatchObject({ code: "unauthorized", status: 401 });
      expect(fault(from).message).toContain("access.anonymous: loopback");
    }
    expect(fault("10.0.0.1").headers).toEqual({ "www-authenticate": 'Bearer realm="gorkheavy"' });
  });

  test("no header makes anybody local", () => {
    const { fault } = gateOf();
    fc.assert(
      fc.property(
        fc.constantFrom(
          "x-forwarded-for",
          "forwarded",
          "x-real-ip",
          "host",
          "x-client-ip",
          "cf-connecting-ip",
          "origin",
        ),
        fc.constantFrom("127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost", "for=127.0.0.1", "127.0.0.1, 127.0.0.1"),
        (name, value) => {
          expect(["unauthorized", "rate_limited"]).toContain(fault("203.0.113.5", { [name]: value }).code);
        },
      ),
    );
  });

  test("a request that a proxy on this machine passed on is not local", () => {
    const { fault } = gateOf();
    expect(fault("127.0.0.1", { "x-forwarded-for": "203.0.113.5" }).code).toBe("unauthorized");
  });

  test("everyone may where the setting says so, and nobody where it says that", () => {
    expect(gateOf({ anonymous: "everyone" }).admit("203.0.113.5").principal).toBe("at:203.0.113.5");
    expect(gateOf({ anonymous: "nobody" }).fault("127.0.0.1").message).toContain("access.anonymous: nobody");
  });

  test("what clients send that must send something counts as no key, what has the shape of a key does not", () => {
    const { admit, fault } = gateOf();
    for (const text of ["ollama", "sk-no-key-required", "unused"])
      expect(admit("127.0.0.1", bearer(text)).principal).toBe("at:127.0.0.1");
    expect(fault("127.0.0.1", bearer(makeKey("ann"))).code).toBe("unauthorized");
    expect(fault("127.0.0.1", bearer(makeKey("nobody"))).code).toBe("unauthorized");
  });

  test("an address may ask as much as its limit says, in whatever way it is written", () => {
    const { admit, fault } = gateOf({ anonymous: "everyone", anonymousLimits: { requestsPerMinute: 2 } });
    expect(admit("203.0.113.5").headers).toEqual({
      "ratelimit-limit": "2",
      "ratelimit-remaining": "1",
      "ratelimit-reset": "30",
    });
    admit("::ffff:203.0.113.5");
    const refused = fault("203.0.113.5", bearer("bogus"));
    expect(refused).toMatchObject({ code: "rate_limited", status: 429, retryAfterSeconds: 30 });
    expect(refused.headers).toMatchObject({ "ratelimit-remaining": "0" });
    admit("203.0.113.6");
    admit("2001:db8::1");
    admit("2001:db8::2");
    expect(fault("2001:db8::3").code).toBe("rate_limited");
  });

  test("a user who has a key is his own", () => {
    const { admit, refusals } = gateOf();
    const anonymous = admit("127.0.0.1");
    expect(anonymous.userFor(undefined)).toBeUndefined();
    expect(anonymous.userFor("bob")).toBe("bob");
    expect(() => anonymous.userFor("ann")).toThrow(/has a key of his own/);
    expect(refusals).toEqual(["user"]);
  });
});

describe("a browser's page", () => {
  const PAGES = [
    { origin: "https://evil.example", host: "127.0.0.1:8080" },
    { origin: "null", host: "127.0.0.1:8080" },
    { origin: "http://localhost:3000", host: "localhost:8080" },
    // A name of its own that now points here: both agree.
    { origin: "http://evil.example:8080", host: "evil.example:8080" },
    { "sec-fetch-site": "same-origin", host: "evil.example:8080" },
    { "sec-fetch-site": "cross-site", host: "127.0.0.1:8080" },
    { origin: "http://", host: "127.0.0.1:8080" },
  ];
  test.each(PAGES)("of another origin may not ask without a key, on this machine either (%j)", (headers) => {
    const { fault, refusals } = gateOf();
    expect(fault("127.0.0.1", headers)).toMatchObject({ code: "forbidden", status: 403 });
    expect(refusals).toEqual(["page"]);
    expect(gateOf({ anonymous: "everyone" }).fault("203.0.113.5", headers).code).toBe("forbidden");
  });

  test("of this service or of an allowed origin may, and one that shows a key", () => {
    const { admit } = gateOf({}, [ANN], ["https://console.example"]);
    expect(admit("127.0.0.1", { origin: "http://127.0.0.1:8080", host: "127.0.0.1:8080" }).principal).toBeDefined();
    expect(admit("127.0.0.1", { "sec-fetch-site": "none", host: "localhost:8080" }).principal).toBeDefined();
    expect(admit("127.0.0.1", { origin: "https://console.example", host: "localhost:8080" }).principal).toBeDefined();
    expect(admit("127.0.0.1", { ...PAGES[0], ...bearer(KEY) }).principal).toBe("key:ann");
  });
});

describe("with a key", () => {
  test("its owner may ask from anywhere, as his user and as nobody else", () => {
    const { admit } = gateOf({ anonymous: "nobody" });
    const ann = admit("203.0.113.5", { authorization: `bearer ${KEY}` });
    expect(ann).toMatchObject({ principal: "key:ann", admin: false });
    expect(ann.userFor(undefined)).toBe("ann");
    expect(ann.userFor("ann")).toBe("ann");
    expect(() => ann.userFor("bob")).toThrow(/asks as ann and as nobody else/);
  });

  test("of any user, whoever is named", () => {
    const { admit } = gateOf({}, [{ ...ANN, user: undefined, users: "any" }]);
    expect(admit("10.0.0.1", bearer(KEY)).userFor("bob")).toBe("bob");
  });

  test("of some models, only these may be asked", () => {
    const { admit } = gateOf({}, [{ ...ANN, models: ["gorkheavy:latest"] }]);
    const admission = admit("10.0.0.1", bearer(KEY));
    admission.checkModel(["gorkheavy:latest"]);
    admission.checkModel(["llama", "gorkheavy:latest"]);
    expect(() => admission.checkModel(["llama", "llama3.2:1b"])).toThrow(/may ask gorkheavy:latest/);
  });

  test("requests and tokens are counted by the key, wherever it comes from", () => {
    const { admit, fault, clock } = gateOf({}, [{ ...ANN, requestsPerMinute: 2, tokensPerDay: 50 }]);
    admit("10.0.0.1", bearer(KEY));
    admit("10.0.0.2", bearer(KEY)).settle({ promptTokens: 30, answerTokens: 20 });
    expect(fault("10.0.0.3", bearer(KEY))).toMatchObject({
      code: "rate_limited",
      message: expect.stringContaining("50 tokens a day") as string,
    });
    clock.ms += 86_400_000;
    admit("10.0.0.1", bearer(KEY));
    admit("10.0.0.1", bearer(KEY));
    expect(fault("10.0.0.1", bearer(KEY)).message).toContain("2 requests a minute");
  });

  test("an answer is counted once, however often it is settled", () => {
    const { admit, fault } = gateOf({}, [{ ...ANN, tokensPerDay: 100 }]);
    const admission = admit("10.0.0.1", bearer(KEY));
    for (let time = 0; time < 5; time++) admission.settle({ promptTokens: 20, answerTokens: 10 });
    admit("10.0.0.1", bearer(KEY)).settle({ promptTokens: 70, answerTokens: 0 });
    expect(fault("10.0.0.1", bearer(KEY)).code).toBe("rate_limited");
  });

  test("one that expired or was taken back is refused, and never turns into no key", () => {
    const expired = gateOf({}, [{ ...ANN, expires: "2026-11-21T11:00:00Z" }]);
    expect(expired.fault("127.0.0.1", bearer(KEY)).message).toBe("the key ann expired");
    const revoked = gateOf({ anonymous: "everyone" }, [{ ...ANN, revoked: "2026-11-21T11:00:00Z" }]);
    expect(revoked.fault("127.0.0.1", bearer(KEY)).message).toBe("the key ann was revoked");
  });

  test("taking it back ends the answers in work that it asked for, and only these", () => {
    const BOBS = makeKey("bob");
    const bob: KeyRecord = { id: "bob", hash: hashOfKey(BOBS), user: "bob", admin: false };
    const { admit, gate, keyring } = gateOf({}, [ANN, bob]);
    const [first, second] = [admit("10.0.0.1", bearer(KEY)), admit("10.0.0.1", bearer(BOBS))];
    const [anns, bobs] = [first.ended, second.ended];
    expect(gate.watched).toBe(2);
    keyring.replace({ keys: [{ ...ANN, revoked: "2026-11-21T11:00:00Z" }, bob] });
    gate.recheck();
    expect(anns?.aborted).toBe(true);
    expect(anns?.reason).toMatchObject({ code: "unauthorized", message: "the key ann was revoked" });
    expect(bobs?.aborted).toBe(false);
    keyring.replace({ keys: [] });
    gate.recheck();
    expect(bobs?.reason).toMatchObject({ message: "the key was taken back" });
    first.release();
    second.release();
    expect(gate.watched).toBe(0);
  });

  test("an expiry that comes while an answer is in work ends it", () => {
    const { admit, gate, clock } = gateOf({}, [{ ...ANN, expires: "2026-11-21T12:01:00Z" }]);
    const { ended } = admit("10.0.0.1", bearer(KEY));
    gate.recheck();
    expect(ended?.aborted).toBe(false);
    clock.ms += 60_000;
    gate.recheck();
    expect(ended?.aborted).toBe(true);
  });
});

describe("wrong keys", () => {
  test("of one address become 429 after so many, whatever else it sends along, and in whatever way it is written", () => {
    const { fault, clock, admit } = gateOf({ failuresPerMinute: 3 });
    const tries = [
      fault("203.0.113.5", bearer(makeKey("ann"))),
      fault("::ffff:203.0.113.5", bearer("bogus")),
      fault("::ffff:cb00:7105", { "x-forwarded-for": "1.2.3.4", "x-device-token": "bogus" }),
      fault("203.0.113.5", { ...bearer(makeKey("x")), "x-forwarded-for": "5.6.7.8" }),
    ];
    expect(tries.map(({ status }) => status)).toEqual([401, 401, 401, 429]);
    expect(tries[3]?.retryAfterSeconds).toBe(20);
    expect(fault("203.0.113.6").status).toBe(401);
    // The right key of somebody behind the same address is not locked out.
    expect(admit("203.0.113.5", bearer(KEY)).principal).toBe("key:ann");
    clock.ms += 20_000;
    expect(fault("203.0.113.5").status).toBe(401);
  });

  test("of a hundred thousand addresses take the memory of as many as are kept", () => {
    const { fault, failures } = gateOf();
    for (let at = 0; at < 100_000; at++) fault(`10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`);
    expect(failures.size).toBe(1_000);
  });

  test("of all shapes are refused with 401 or 429 and never end in anything else", () => {
    const { fault } = gateOf({ anonymous: "nobody" });
    const words = fc.oneof(
      fc.string(),
      fc.string({ unit: "binary" }),
      fc.constantFrom(
        "' OR 1=1 --",
        "'; DROP TABLE keys; --",
        "gh_ann_' OR ''='",
        "__proto__",
        "constructor",
        "gh___proto___x",
        "../../etc/passwd",
        "%00",
        "\u0000",
      ),
    );
    fc.assert(
      fc.property(
        words,
        fc.constantFrom("Bearer ", "bearer ", "Basic ", "", "Bearer gh_ann_", "Bearer\t"),
        (text, scheme) => {
          const { code, message } = fault("203.0.113.5", { authorization: `${scheme}${text}` });
          expect(["unauthorized", "rate_limited"]).toContain(code);
          if (text.length > 12) expect(message).not.toContain(text);
        },
      ),
    );
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.constantFrom(
            "authorization",
            "x-forwarded-for",
            "origin",
            "host",
            "forwarded",
            "cookie",
            "sec-fetch-site",
          ),
          words,
        ),
        (headers) => {
          expect(["unauthorized", "rate_limited"]).toContain(fault("203.0.113.5", headers).code);
        },
      ),
    );
  });
});

describe("figures", () => {
  test("are open like probes unless the setting guards them", () => {
    expect(gateOf().admit("203.0.113.5", {}, "/metrics").principal).toBe("");
    expect(gateOf({ metrics: "guarded" }).fault("203.0.113.5", {}, "/metrics").code).toBe("unauthorized");
    expect(gateOf({ metrics: "guarded" }).admit("203.0.113.5", bearer(KEY), "/metrics").principal).toBe("key:ann");
  });
});
