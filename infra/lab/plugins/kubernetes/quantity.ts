import type { Properties, Value } from "../provider.ts";
import { isPlainObject } from "../values.ts";

const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/** Powers of ten by suffix. */
const DECIMAL = new Map([
  ["n", -9],
  ["u", -6],
  ["m", -3],
  ["", 0],
  ["k", 3],
  ["M", 6],
  ["G", 9],
  ["T", 12],
  ["P", 15],
  ["E", 18],
]);
/** Kubernetes keeps nine digits after the point and rounds up. Source: apimachinery pkg/api/resource/quantity.go, v0.34. */
const NANO = 9;

/**
 * The spelling that the API server gives a quantity: `1.5Gi` is `1536Mi`, `1000m` is `1`, `0.5` is `500m`. Text that
 * is no quantity comes back as it is.
 */
export function canonicalQuantity(text: string): string {
  const match = /^([+-]?)(\d+(?:\.\d*)?|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d+)?$/.exec(text);
  if (match === null) return text;
  const [, sign = "", digits = "", suffix = ""] = match;
  const [whole = "", fraction = ""] = digits.split(".");
  const exponent = /^[eE][+-]?\d+$/.test(suffix) ? Number(suffix.slice(1)) : undefined;
  const mantissa = BigInt(`${whole}${fraction}` || "0");
  if (mantissa === 0n) return "0";
  const minus = sign === "-" ? "-" : "";
  const binary = BINARY.indexOf(suffix);
  if (binary > 0) {
    const nanos = ceilDivide(mantissa * 1024n ** BigInt(binary) * 10n ** BigInt(NANO), 10n ** BigInt(fraction.length));
    const unit = 10n ** BigInt(NANO);
    // Less than one byte, or no whole number of bytes: the server falls back to decimal suffixes.
    if (nanos % unit !== 0n) return minus + decimal(nanos);
    let value = nanos / unit;
    let step = 0;
    while (step < BINARY.length - 1 && value % 1024n === 0n) {
      value /= 1024n;
      step += 1;
    }
    return `${minus}${value}${BINARY[step] ?? ""}`;
  }
  const power = (exponent ?? DECIMAL.get(suffix) ?? 0) - fraction.length + NANO;
  const nanos = power >= 0 ? mantissa * 10n ** BigInt(power) : ceilDivide(mantissa, 10n ** BigInt(-power));
  return minus + (exponent === undefined ? decimal(nanos) : scientific(nanos));
}

function decimal(nanos: bigint): string {
  let value = nanos;
  let power = -NANO;
  while (value % 1000n === 0n && power < 18) {
    value /= 1000n;
    power += 3;
  }
  const suffix = [...DECIMAL].find(([, exponent]) => exponent === power)?.[0] ?? "";
  return `${value}${suffix}`;
}

function scientific(nanos: bigint): string {
  let value = nanos;
  let power = -NANO;
  while (value % 1000n === 0n) {
    value /= 1000n;
    power += 3;
  }
  return power === 0 ? `${value}` : `${value}e${power}`;
}

function ceilDivide(value: bigint, by: bigint): bigint {
  return (value + by - 1n) / by;
}

/** Keys whose values are quantities by name, whatever they are called. */
const QUANTITY_MAPS = new Set([
  "capacity",
  "default",
  "defaultRequest",
  "hard",
  "limits",
  "max",
  "maxLimitRequestRatio",
  "min",
  "overhead",
  "requests",
]);
/** Keys whose value is one quantity. */
const QUANTITIES = new Set(["averageValue", "divisor", "sizeLimit"]);
/** Maps of the user's own words, in which nothing is a quantity. */
const OPAQUE = new Set(["annotations", "binaryData", "data", "labels", "matchLabels", "nodeSelector", "stringData"]);

/** Spells every quantity in an object of a built-in kind as the API server does, so that equal ones compare equal. */
export function withCanonicalQuantities(manifest: Properties): Properties {
  return Object.fromEntries(
    Object.entries(manifest).map(([key, value]): [string, Value] => {
      if (OPAQUE.has(key)) return [key, value];
      if (QUANTITIES.has(key)) return [key, quantityOf(value)];
      if (QUANTITY_MAPS.has(key) && isPlainObject(value)) {
        return [key, Object.fromEntries(Object.entries(value).map(([name, amount]) => [name, quantityOf(amount)]))];
      }
      return [key, walk(value)];
    }),
  );
}

function walk(value: Value): Value {
  if (Array.isArray(value)) return value.map(walk);
  return isPlainObject(value) ? withCanonicalQuantities(value) : value;
}

function quantityOf(value: Value): Value {
  if (typeof value === "string") return canonicalQuantity(value);
  return typeof value === "number" ? canonicalQuantity(String(value)) : walk(value);
}
