import { expect, test } from "vitest";
import { makeImage, readImage } from "../../../../infra/lab/nodes/image.ts";

test("gives back the key that it was made with", () => {
  expect(readImage(makeImage("bookworm-x64-0123abcd"))).toBe("bookworm-x64-0123abcd");
});

test("needs no more than the first cluster to be read", () => {
  expect(readImage(makeImage("a").subarray(0, 65536))).toBe("a");
});

test("has a version 3 header whose tables lie inside of the file", () => {
  const image = makeImage("a", 32 * 1024 ** 3);
  expect(image.toString("latin1", 0, 4)).toBe("QFI\xfb");
  expect(image.readUInt32BE(4)).toBe(3);
  expect(image.readBigUInt64BE(24)).toBe(32n * 1024n ** 3n);
  expect(image.readUInt32BE(36)).toBe(64);
  for (const at of [40, 48]) expect(Number(image.readBigUInt64BE(at))).toBeLessThan(image.length);
});

test.each([0, -512, 511, 1.5, 2 ** 52])("refuses the size %d", (bytes) => {
  expect(() => makeImage("a", bytes)).toThrow(/image size: got .* want a multiple of 512/);
});

test("refuses a key that could leave the lab's directory", () => {
  expect(() => makeImage("../etc")).toThrow();
});

test("says that a raw disk is no image", () => {
  expect(() => readImage(Buffer.alloc(65536))).toThrow(/no QCOW2 image/);
  expect(() => readImage(Buffer.alloc(3))).toThrow(/no QCOW2 image/);
});

test("says that somebody else's image cannot be booted", () => {
  const foreign = makeImage("a");
  foreign.writeUInt32BE(0xe2792aca, 104);
  expect(() => readImage(foreign)).toThrow(/not the lab's/);
});

test("steps over extensions that it does not know", () => {
  const image = makeImage("abc");
  const extension = Buffer.from(image.subarray(104, 200));
  image.fill(0, 104, 400);
  image.writeUInt32BE(0x12345678, 104);
  image.writeUInt32BE(5, 108);
  extension.copy(image, 120);
  expect(readImage(image)).toBe("abc");
});

test("does not run past a length that lies", () => {
  const image = makeImage("abc");
  image.writeUInt32BE(0xffffffff, 108);
  expect(() => readImage(image)).toThrow(/not the lab's/);
});
