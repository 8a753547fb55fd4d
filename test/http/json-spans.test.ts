// Owns the checks of json-spans.ts against JSON.parse: whatever text JSON.parse takes, the spans agree with it.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { itemMemberTexts, memberText, pointer, unstorableStrings } from "../../src/http/json-spans.ts";

/** JSON text as people and programs write it: any spacing, any escapes, members in any order and more than once. */
const space = fc.stringMatching(/^[ \t\r\n]{0,2}$/);
const memberName = fc.oneof(fc.constantFrom("payload", "tasks", "a", "", "1", "__proto__", 'q"', "b\\"), fc.string());

/** A string's text, with as few escapes as can be or with nothing but. */
function written(text: string): fc.Arbitrary<string> {
  const units = Array.from({ length: text.length }, (_, at) => text.charCodeAt(at).toString(16).padStart(4, "0"));
  return fc.constantFrom(JSON.stringify(text), `"${units.map((unit) => `\\u${unit}`).join("")}"`);
}

const anyText = fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.constantFrom("\0", "\ud800", "x\udfff"));

const { value: jsonText } = fc.letrec<{ value: string; object: string; array: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom("null", "true", "false", "0", "-1.10", "12345678901234567890", "1e400", "2E-3"),
    anyText.chain(written),
    tie("object"),
    tie("array"),
  ),
  object: fc
    .array(fc.tuple(space, memberName.chain(written), space, space, tie("value"), space), { maxLength: 5 })
    .map((members) => `{${members.map(([a, name, b, c, value, d]) => `${a}${name}${b}:${c}${value}${d}`).join(",")} }`),
  array: fc
    .array(fc.tuple(space, tie("value"), space), { maxLength: 5 })
    .map((items) => `[${items.map(([a, value, b]) => `${a}${value}${b}`).join(",")}\n]`),
}));

const objectText = fc
  .array(fc.tuple(space, memberName.chain(written), space, jsonText, space), { maxLength: 6 })
  .map((members) => `{${members.map(([a, name, b, value, c]) => `${a}${name}${b}: ${value}${c}`).join(",")}}`);

/** A failure prints its seed and path. */
const runs = { numRuns: 2_000 };

const own = (value: unknown, name: string): unknown => Object.getOwnPropertyDescriptor(value, name)?.value;

describe("a member's text", () => {
  test("parses to the member that JSON.parse gives, whatever the text", () => {
    fc.assert(
      fc.property(objectText, memberName, (json, name) => {
        const text = memberText(json, name);
        if (text === null) expect(Object.hasOwn(JSON.parse(json), name)).toBe(false);
        else expect(JSON.parse(text)).toStrictEqual(own(JSON.parse(json), name));
      }),
      runs,
    );
  });

  test("is found in each item of a list", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(objectText, jsonText), { maxLength: 5 }), memberName, (items, name) => {
        const json = `{"x":[{"payload":1}],"tasks":[],"tasks" : [ ${items.join(" , ")} ] }`;
        const texts = itemMemberTexts(json, "tasks", name);
        expect(texts).toHaveLength(items.length);
        for (const [index, item] of items.entries()) expect(texts[index]).toBe(memberText(item, name));
      }),
      runs,
    );
  });

  test.each([
    ['{"payload":12345678901234567890}', "12345678901234567890"],
    ['{"payload" : 1.10 }', "1.10"],
    ['{"payload":{"2":0,"1":0}}', '{"2":0,"1":0}'],
    ['{"payload":{"a": [1.0 , 2],"a":1}}', '{"a": [1.0 , 2],"a":1}'],
    ['{"payload":"\\u00e9\\/"}', '"\\u00e9\\/"'],
    ['{"payload":1,"payload":2}', "2"],
    ['{"pay\\u006coad":3}', "3"],
    ['{"a":{"payload":1}}', null],
    ['{"a":"payload","b":"\\"payload\\":1"}', null],
    ["[1]", null],
    ["{}", null],
    ['{"payload":null}', "null"],
  ])("of %s is %s", (json, text) => {
    expect(memberText(json, "payload")).toBe(text);
  });

  test("is found past 200,000 open brackets", () => {
    const deep = "[".repeat(200_000) + "]".repeat(200_000);
    expect(memberText(`{"a":${deep},"payload":${deep}}`, "payload")).toBe(deep);
  });
});

describe("strings that cannot be stored", () => {
  test("are found exactly where a walk over the parsed value finds them", () => {
    fc.assert(
      fc.property(jsonText, (json) => {
        const found = unstorableStrings(json, 1_000);
        const expected = walk(JSON.parse(json), []);
        // The text may have more: members that a later one of the same name hides.
        expect(found).toEqual(expect.arrayContaining(expected));
        if (!json.includes("\\u")) expect(found).toEqual([]);
      }),
      runs,
    );
  });

  test.each([
    ['{"a":"\\u0000"}', ["/a"]],
    ['{"a":["x",{"b~/c":"\\ud800"}]}', ["/a/1/b~0~1c"]],
    ['{"a":"\\ud83d\\ude00"}', []],
    ['{"a":"\\\\u0000"}', []],
    ['{"a":"\\udc00x","b":1,"c":[[],{},"\\uDFFF"]}', ["/a", "/c/2"]],
    ['{"a\\u0000":{"b":1}}', ["/a\0"]],
    ['"\\u0000"', [""]],
    ['{"a":"\\u0000","a":"fine"}', ["/a"]],
  ])("in %s are at %j", (json, pointers) => {
    expect(unstorableStrings(json, 10)).toEqual(pointers);
  });

  test("are counted up to the limit", () => {
    expect(unstorableStrings(JSON.stringify(Array(20).fill("\0")), 3)).toEqual(["/0", "/1", "/2"]);
  });
});

test("a pointer escapes what RFC 6901 says and holds no lone surrogate", () => {
  expect(pointer(["a/b", "m~n", 0, "\ud800"])).toBe("/a~1b/m~0n/0/\ufffd");
  expect(pointer([])).toBe("");
});

function walk(value: unknown, path: (string | number)[]): string[] {
  if (typeof value === "string") return value.includes("\0") || !value.isWellFormed() ? [pointer(path)] : [];
  if (typeof value !== "object" || value === null) return [];
  if (Array.isArray(value)) return value.flatMap((item, index) => walk(item, [...path, index]));
  return Object.entries(value).flatMap(([name, member]) => walk(member, [...path, name]));
}
