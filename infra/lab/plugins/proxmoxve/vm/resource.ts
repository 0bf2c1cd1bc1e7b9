import { randomBytes } from "node:crypto";
import { PartialFailure, Secret, UNKNOWN } from "../../provider.ts";
import type { DiffResult, Properties, Value } from "../../provider.ts";
import { containsSecret, containsUnknown, diffProperties, markReplaces, plainOf, rootOfPath } from "../../values.ts";
import type { Resource } from "../resource.ts";
import { compareVm } from "./compare.ts";
import { createVm } from "./create.ts";
import { deleteVm } from "./delete.ts";
import { vmSchema, vmStateSchema } from "./model.ts";
import type { Vm, VmState } from "./model.ts";
import type { VmHandle } from "./power.ts";
import { readVm } from "./read.ts";
import { checkVm } from "./schema.ts";
import { updateVm } from "./update.ts";

const COMPUTED = ["ipv4Addresses", "ipv6Addresses", "macAddresses", "networkInterfaceNames"];

/** `proxmoxve:index/vmLegacy:VmLegacy`: one VM, from its image to its deletion. */
export const vmResource: Resource = {
  async check({ news, olds, name, autonaming }) {
    const inputs: Properties = {};
    for (const [key, value] of Object.entries(news)) if (value !== null) inputs[key] = value;
    // The real provider makes a name up, too: the logical name and seven hex digits.
    if (inputs["name"] === undefined && autonaming?.mode !== "disable") {
      inputs["name"] =
        olds?.["name"] ?? autonaming?.proposedName ?? `${name}-${randomBytes(4).toString("hex").slice(0, 7)}`;
    }
    return { inputs, failures: checkVm(inputs) };
  },

  async diff({ id, olds, oldInputs, news }) {
    if (containsUnknown(news)) return diffUnknown(oldInputs, news);
    const state = stateOf(olds);
    const { changed, before, after } = compareVm(state, wantedOf(news));
    if (changed.size === 0) return { changes: false, replaces: [] };
    const picked = (side: Partial<Record<keyof Vm, unknown>>): Properties =>
      Object.fromEntries([...changed].filter((key) => side[key] !== undefined).map((key) => [key, toValue(side[key])]));
    const replaces = [...changed].filter((key) => forcesReplacement(key, id, state, wantedOf(news)));
    const detailed = markReplaces(diffProperties(picked(before), picked(after)), (path) =>
      replaces.some((key) => key === rootOfPath(path)),
    );
    return {
      changes: true,
      replaces,
      detailed,
      // A VM with the same name would be there twice; so do the ids, which are most often fixed as well.
      deleteBeforeReplace: replaces.length > 0 && plainOf(oldInputs["name"]) === plainOf(news["name"]),
    };
  },

  async create(call, client) {
    if (call.preview) {
      const unknown: Properties = Object.fromEntries(COMPUTED.map((key) => [key, UNKNOWN]));
      return { id: "", properties: { vmId: UNKNOWN, ...call.inputs, ...unknown } };
    }
    const vm = wantedOf(call.inputs);
    const scope = { client, node: vm.nodeName, signal: call.signal, log: call.log };
    const state = await createVm(scope, vm, (partial) => propertiesOf(partial, call.inputs));
    return { id: String(state.vmId), properties: propertiesOf(state, call.inputs) };
  },

  async read({ id, inputs, properties, signal, log }, client) {
    const [node, vmId] = parseId(id, properties);
    const asked = vmSchema.parse({ nodeName: node, ...asObject(plainOf(inputs ?? properties ?? {})) });
    const state = await readVm({ client, node, vmId, signal, log }, asked);
    if (state === undefined) return undefined;
    const shown = propertiesOf(state, inputs ?? {});
    const known = inputs === undefined || Object.keys(inputs).length === 0 ? importedInputs(shown) : inputs;
    return { id: String(vmId), inputs: known, properties: shown };
  },

  async update(call, client) {
    if (call.preview) return { properties: { ...call.olds, ...call.news } };
    const state = stateOf(call.olds);
    const wanted = wantedOf(call.news);
    const handle: VmHandle = {
      client,
      node: state.nodeName,
      vmId: Number(call.id),
      signal: call.signal,
      log: call.log,
    };
    const { changed } = compareVm(state, wanted);
    try {
      const after = await updateVm(handle, state, wanted, changed);
      return { properties: propertiesOf(after, call.news) };
    } catch (error) {
      // The host may have taken a part of it: keep what it has now, so that the next run sees what is left to do.
      const now = await readVm(handle, wanted).catch(() => undefined);
      if (now === undefined) throw error;
      const reason = error instanceof Error ? error.message : "unknown error";
      throw new PartialFailure(reason, {
        id: call.id,
        properties: propertiesOf(now, call.news),
        reasons: [reason],
        cause: error,
      });
    }
  },

  async delete({ id, properties, signal, log }, client) {
    const vm = stateOf(properties);
    await deleteVm({ client, node: vm.nodeName, vmId: Number(id), signal, log }, vm);
  },
};

function forcesReplacement(key: keyof Vm, id: string, state: VmState, wanted: Vm): boolean {
  if (key === "vmId") return String(wanted.vmId) !== id;
  if (key === "nodeName") return !wanted.migrate;
  if (key !== "initialization") return false;
  const fixed = ["userDataFileId", "vendorDataFileId", "networkDataFileId", "metaDataFileId", "type"] as const;
  const before = state.initialization;
  const after = wanted.initialization;
  return fixed.some((field) => (before?.[field] ?? "") !== (after?.[field] ?? "") && (after?.[field] ?? "") !== "");
}

/** With unknowns only the inputs can be compared; what is unknown counts as an update in place. */
function diffUnknown(oldInputs: Properties, news: Properties): DiffResult {
  const diffs = diffProperties(oldInputs, news);
  const replaces = (path: string): boolean => path === "vmId" || path === "nodeName";
  const paths = Object.keys(diffs);
  return { changes: paths.length > 0, replaces: paths.filter(replaces), detailed: markReplaces(diffs, replaces) };
}

function wantedOf(inputs: Properties): Vm {
  return vmSchema.parse(plainOf(inputs));
}

/** State of before; from a half-made VM it may lack what only a read brings. */
function stateOf(properties: Properties): VmState {
  return vmStateSchema.parse(plainOf(properties));
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function toValue(value: unknown): Value {
  // Only what zod parsed out of JSON arrives here, so a round trip through it loses nothing but undefined.
  return value === undefined ? null : (JSON.parse(JSON.stringify(value)) as Value);
}

/** Outputs of a VM. What was secret among the inputs stays so, whatever the host says. */
function propertiesOf(state: Vm | VmState, inputs: Properties): Properties {
  const result: Properties = {};
  for (const [key, value] of Object.entries(state)) {
    if (value === undefined) continue;
    const output = toValue(value);
    result[key] = containsSecret(inputs[key]) ? new Secret(output) : output;
  }
  return result;
}

/** `201`, or `node/201` when a VM is imported. */
function parseId(id: string, properties: Properties | undefined): [string, number] {
  const [first = "", second] = id.split("/");
  const nodeName = properties === undefined ? undefined : plainOf(properties["nodeName"]);
  const node = second === undefined ? nodeName : first;
  const vmId = Number(second ?? first);
  if (typeof node !== "string" || !Number.isInteger(vmId)) {
    throw new Error(`import id: got ${JSON.stringify(id)}, want NODE/VMID, such as thinkcentre-1/201`);
  }
  return [node, vmId];
}

/** Inputs of a VM that was imported: everything but what only the host knows. */
function importedInputs(shown: Properties): Properties {
  return Object.fromEntries(Object.entries(shown).filter(([key]) => !COMPUTED.includes(key)));
}
