/**
 * Any character of Unicode, the low ones more often. fast-check's own unit for this, "binary", first
 * builds a table of all 1,112,064 of them, which takes a second in each file that asks.
 */
import fc from "fast-check";

export const character: fc.Arbitrary<string> = fc
  .nat(0x10ffff - 0x800)
  .map((at) => String.fromCodePoint(at < 0xd800 ? at : at + 0x800));
