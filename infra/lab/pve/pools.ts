import { z } from "zod";
import { failure } from "./api-error.ts";
import { readIfPresent, writeFileAtomically } from "./atomic-file.ts";

const PoolSchema = z.strictObject({
  poolid: z.string(),
  comment: z.string().optional(),
  vms: z.array(z.number()),
  storage: z.array(z.string()),
});

/** A named group of VMs and datastores. */
export type Pool = z.output<typeof PoolSchema>;

/** The pools of a node, kept in one file. */
export class Pools {
  readonly #path: string;
  readonly #pools: Map<string, Pool>;
  #written: Promise<void> = Promise.resolve();

  private constructor(path: string, pools: Map<string, Pool>) {
    this.#path = path;
    this.#pools = pools;
  }

  /** Reads the pools of a file; none when it is missing. @throws when the file holds something else */
  static async open(path: string): Promise<Pools> {
    const text = await readIfPresent(path);
    const pools = text === undefined ? [] : z.array(PoolSchema).parse(JSON.parse(text));
    return new Pools(path, new Map(pools.map((pool) => [pool.poolid, pool])));
  }

  /** All pools, by name. */
  all(): Pool[] {
    return [...this.#pools.values()].sort((a, b) => (a.poolid < b.poolid ? -1 : 1));
  }

  /** @throws ApiError 500 `pool 'x' does not exist` */
  get(poolId: string): Pool {
    const pool = this.#pools.get(poolId);
    if (pool === undefined) throw failure(`pool '${poolId}' does not exist`);
    return pool;
  }

  /** The pool that a VM is in, if any. */
  poolOf(vmId: number): string | undefined {
    return this.all().find((pool) => pool.vms.includes(vmId))?.poolid;
  }

  /** @throws ApiError 500 `pool 'x' already exists` */
  async create(poolId: string, comment: string | undefined): Promise<void> {
    if (this.#pools.has(poolId)) throw failure(`create pool failed: pool '${poolId}' already exists`);
    this.#pools.set(poolId, { poolid: poolId, ...(comment === undefined ? {} : { comment }), vms: [], storage: [] });
    await this.#save();
  }

  /** @throws ApiError 500 when the pool does not exist or still has members */
  async remove(poolId: string): Promise<void> {
    const pool = this.get(poolId);
    const member = pool.vms[0] === undefined ? pool.storage[0] && `storage '${pool.storage[0]}'` : `VM ${pool.vms[0]}`;
    if (member) throw failure(`delete pool failed: pool '${poolId}' is not empty (contains ${member})`);
    this.#pools.delete(poolId);
    await this.#save();
  }

  /** Replaces a pool's comment. */
  async comment(poolId: string, comment: string): Promise<void> {
    this.get(poolId).comment = comment;
    await this.#save();
  }

  /** Adds members. @param move takes a VM out of the pool that it is in; else that is an error */
  async add(poolId: string, vms: readonly number[], storage: readonly string[], move: boolean): Promise<void> {
    const pool = this.get(poolId);
    for (const vmId of vms) {
      const other = this.poolOf(vmId);
      if (other === poolId) throw failure(`VM ${vmId} is already a pool member`);
      if (other !== undefined && !move)
        throw failure(`VM ${vmId} belongs already to pool '${other}' and 'allow-move' is not set`);
    }
    for (const one of this.#pools.values()) one.vms = one.vms.filter((vmId) => !vms.includes(vmId));
    pool.vms = [...pool.vms, ...vms].sort((a, b) => a - b);
    pool.storage = [...new Set([...pool.storage, ...storage])];
    await this.#save();
  }

  /** Takes members out. @throws ApiError 500 for one that is not in the pool */
  async drop(poolId: string, vms: readonly number[], storage: readonly string[]): Promise<void> {
    const pool = this.get(poolId);
    for (const vmId of vms) if (!pool.vms.includes(vmId)) throw failure(`VM ${vmId} is not a pool member`);
    for (const name of storage)
      if (!pool.storage.includes(name)) throw failure(`Storage '${name}' is not a pool member`);
    pool.vms = pool.vms.filter((vmId) => !vms.includes(vmId));
    pool.storage = pool.storage.filter((name) => !storage.includes(name));
    await this.#save();
  }

  /** Takes a VM that is gone out of whatever pool it was in. */
  async forget(vmId: number): Promise<void> {
    const poolId = this.poolOf(vmId);
    if (poolId !== undefined) await this.drop(poolId, [vmId], []);
  }

  // One write after the other, so that the last change is what stays.
  async #save(): Promise<void> {
    const text = JSON.stringify(this.all(), undefined, 2);
    const write = this.#written.then(() => writeFileAtomically(this.#path, text));
    this.#written = write.catch(() => undefined);
    await write;
  }
}
