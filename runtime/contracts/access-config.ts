import { z } from "zod";

/** Address or range of addresses, such as `10.42.0.0/16`, `192.168.1.7` or `fd00::/8`. */
const AddressRange = z.union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()], {
  error: "want an address or a range such as 10.42.0.0/16",
});

/** Most requests a minute; as many may come at once, and then one each `60 / requestsPerMinute` seconds. */
const RequestsPerMinute = z.int().min(1).max(1_000_000);
/** Most tokens that answers may cost from midnight to midnight UTC, read and written ones together. */
const TokensPerDay = z.int().min(1).max(1_000_000_000_000);

/** Who may ask. `/`, `/healthz` and `/readyz` are always open: probes have no key. */
export const AccessConfigSchema = z.strictObject({
  /**
   * Who may ask without a key. `loopback`: programs on this machine (in a pod: also `kubectl port-forward`), told by the socket's own
   * address and never by a header; a request that a proxy on this machine passed on does not count. `everyone`: whoever reaches the port.
   */
  anonymous: z.enum(["loopback", "everyone", "nobody"]).default("loopback"),
  /** What each address may ask without a key. Absent fields: no limit. */
  anonymousLimits: z
    .strictObject({ requestsPerMinute: RequestsPerMinute.optional(), tokensPerDay: TokensPerDay.optional() })
    .prefault({}),
  /** File of the keys, YAML or JSON, as `gorkheavy keys` writes it; read again when it changes. Absent: there are none. */
  keysFile: z.string().min(1).optional(),
  /** Proxies whose `X-Forwarded-For` is believed, from its right end on. Empty: the header is never read. */
  trustedProxies: z.array(AddressRange).max(1_000).default([]),
  /** Whether `/metrics` and `/openapi.json` are open like the probes, or asked for like anything else. */
  metrics: z.enum(["open", "guarded"]).default("open"),
  /** Refusals for want of a right key that one address may cause a minute (IPv6: one /64); after that they are 429 instead of 401. */
  failuresPerMinute: z.int().min(1).max(100_000).default(30),
});
/** Who may ask, defaults filled in. */
export type AccessConfig = z.output<typeof AccessConfigSchema>;
/** Who may ask, as people write it. */
export type AccessConfigInput = z.input<typeof AccessConfigSchema>;

/** Name of a key: part of the key itself, and how logs and `keys revoke` name it. */
export const KeyId = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/, "want 1 to 40 of a-z, 0-9 and -, such as anns-laptop");

/** User whose conversations a key may see; the same characters as in requests. */
export const KeyUser = z.string().regex(/^[A-Za-z0-9._:@-]{1,128}$/, "want 1 to 128 of A-Z, a-z, 0-9 and . _ : @ -");

/** A moment, ISO 8601 with its zone. YAML reads such a scalar as text. */
const Moment = z.iso.datetime({ offset: true, error: "want a moment such as 2027-01-31T00:00:00Z" });

/** One key of the keys file. */
export const KeyRecordSchema = z
  .strictObject({
    id: KeyId,
    /**
     * SHA-256 of the whole key. Not bcrypt or the like: those make guessing of *short* secrets slow; a key has 256 random bits, which nobody
     * guesses, and a slow hash would let anybody burn this service's CPU with wrong keys.
     */
    hash: z
      .string()
      .regex(/^sha256:[0-9a-f]{64}$/, "want sha256: and 64 hex digits, as `gorkheavy keys create` writes it"),
    /** The only user that it may ask as; a user of a key is nobody else's. */
    user: KeyUser.optional(),
    /** It may ask as any user. */
    users: z.literal("any").optional(),
    /** Names of the models that it may ask for, the ensemble's own among them. Absent: all. */
    models: z.array(z.string().min(1).max(256)).min(1).max(1_000).optional(),
    /** Absent: no limit. */
    requestsPerMinute: RequestsPerMinute.optional(),
    /** Absent: no limit. */
    tokensPerDay: TokensPerDay.optional(),
    /** It is refused from then on. Absent: never. */
    expires: Moment.optional(),
    /** It was taken back then, and is refused. */
    revoked: Moment.optional(),
    /** It may do what changes the service itself, and see all users. */
    admin: z.boolean().default(false),
  })
  .refine(({ user, users }) => (user === undefined) !== (users === undefined), {
    error: "want either user: NAME or users: any",
  });
/** One key of the keys file. */
export type KeyRecord = z.output<typeof KeyRecordSchema>;

/** The keys file. */
export const KeysFileSchema = z
  .strictObject({ keys: z.array(KeyRecordSchema).max(100_000) })
  .superRefine(({ keys }, ctx) => {
    const seen = new Set<string>();
    keys.forEach(({ id }, index) => {
      if (seen.has(id)) ctx.addIssue({ code: "custom", path: ["keys", index, "id"], message: `${id} is there twice` });
      seen.add(id);
    });
  });
/** The keys file. */
export type KeysFile = z.output<typeof KeysFileSchema>;
