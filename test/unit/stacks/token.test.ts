import { expect, test } from "vitest";
import { parseTokens } from "../../../stacks/token.ts";

const ONE = "root@pam!gorkheavy=5f0e4f3c-1111-4222-8333-0123456789ab";
const TWO = "ops@pve!gk=aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
const HOSTS = ["thinkcentre-1", "thinkcentre-2"];

test("takes one token for all hosts, with the newline that a file leaves", () => {
  expect([...parseTokens(`${ONE}\n`, HOSTS)]).toEqual([
    ["thinkcentre-1", ONE],
    ["thinkcentre-2", ONE],
  ]);
});

test("takes a token for each host, which single hosts need", () => {
  const text = JSON.stringify({ "thinkcentre-2": TWO, "thinkcentre-1": ONE });
  expect([...parseTokens(text, HOSTS)]).toEqual([
    ["thinkcentre-1", ONE],
    ["thinkcentre-2", TWO],
  ]);
});

test.each([
  ["a missing one", undefined, /proxmoxApiToken: got nothing, want user@realm!name=uuid.*pulumi config set --secret/],
  ["an empty one", " ", /proxmoxApiToken: got nothing/],
  [
    "one without its secret part",
    "root@pam!gorkheavy",
    /proxmoxApiToken: got a value of another form \(not shown\), want/,
  ],
  ["one that a host has not", JSON.stringify({ "thinkcentre-1": ONE }), /proxmoxApiToken\.thinkcentre-2: got nothing/],
  [
    "one of a strange host",
    JSON.stringify({ nuc: ONE }),
    /proxmoxApiToken\.nuc: there is no such host, want one of thinkcentre-1, thinkcentre-2/,
  ],
  ["broken JSON", `{"thinkcentre-1": "${ONE}"`, /starts like a JSON object/],
  ["JSON of another shape", `{"thinkcentre-1": {"id": "${ONE}"}}`, /starts like a JSON object/],
])("refuses %s", (_, text, message) => {
  expect(() => parseTokens(text, HOSTS)).toThrow(message);
});

test("never repeats a token", () => {
  const broken = [
    `${ONE}0`,
    `{"thinkcentre-1":"${ONE}`,
    JSON.stringify({ "thinkcentre-1": `${ONE}x`, "thinkcentre-2": TWO }),
  ];
  for (const text of broken) {
    let said = "";
    try {
      parseTokens(text, HOSTS);
    } catch (error) {
      said = `${String(error)} ${error instanceof Error ? `${error.stack} ${JSON.stringify(error.cause)}` : ""}`;
    }
    expect(said).toMatch(/not shown/);
    expect(said).not.toContain("5f0e4f3c");
  }
});
