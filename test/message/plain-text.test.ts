/** Text made from html: what is kept, what is left out, and that it is bounded. */
import { describe, expect, test } from "vitest";
import { plainText } from "../../lib/message/plain-text.ts";

describe("what a reader would see", () => {
  test.each<[string, string, string]>([
    ["nothing", "", ""],
    ["text without markup", "Hello", "Hello"],
    ["character references", "<p>&lt;3 &amp; caf&eacute; &#x1F600;</p>", "<3 & café 😀"],
    ["any script", "<p>李雷，你好</p><p>שלום</p>", "李雷，你好\n\nשלום"],
    ["headings as they are", "<h1>Straße</h1><p>x</p>", "Straße\n\nx"],
    ["line breaks", "<p>one<br>two</p>", "one\ntwo"],
    ["white space as one", "<p>a\n  b\t c</p>", "a b c"],
    ["preformatted text", "<pre>a\n  b</pre>", "a\n  b"],
    ["a quotation", "<blockquote>x</blockquote>", "> x"],
    ["lists", "<ul><li>a</li><li>b</li></ul>", " * a\n * b"],
    ["numbered lists, one in another", "<ol><li>a<ul><li>b</li></ul></li></ol>", " 1. a\n    * b"],
    ["words of an image", '<p><img src="cid:x" alt="Our  logo"></p>', "Our logo"],
    ["an image without words", '<p>a<img src="https://t.example/pixel.gif">b</p>', "ab"],
    ["layout, cell by cell", "<table><tr><td>a</td><td>b</td></tr></table>", "a b"],
    [
      "data, in columns",
      "<table><tr><th>Item</th><th>Price</th></tr><tr><td>Widget</td><td>10</td></tr></table>",
      "Item     Price\nWidget   10",
    ],
  ])("%s", async (_name, html, text) => expect(await plainText(html)).toBe(text));
});

describe("links", () => {
  test.each<[string, string, string]>([
    [
      "have their address",
      '<a href="https://e.example/?a=1&amp;b=2">x</a>',
      "x <https://e.example/?a=1&b=2>",
    ],
    [
      "that are their own text stand once",
      '<a href="https://e.example">https://e.example</a>',
      "https://e.example",
    ],
    [
      "around an image have its words",
      '<a href="https://e.example"><img alt="Buy"></a>',
      "Buy <https://e.example>",
    ],
    ["around nothing are there", '<a href="https://e.example"></a>', "https://e.example"],
    ["to a mailbox", '<a href="mailto:a@b.example">write</a>', "write <a@b.example>"],
    ["into the page lead nowhere", '<a href="#top">x</a>', "x"],
    ["without a host lead nowhere", '<a href="/x">x</a>', "x"],
    ["to a script are none", '<a href=" JavaScript:x()">x</a>', "x"],
  ])("%s", async (_name, html, text) => expect(await plainText(html)).toBe(text));

  test("are not broken, however long", async () => {
    const url = `https://e.example/${"x".repeat(500)}`;
    expect(await plainText(`<p>${"word ".repeat(50)}<a href="${url}">go</a></p>`)).toContain(
      `go <${url}>`,
    );
  });
});

describe("what a reader would not see", () => {
  test.each<[string, string]>([
    ["scripts", "<script>alert('<p>no</p>')</script>"],
    ["styles", "<style>p { color: red }</style>"],
    ["the head", "<head><title>no</title><style>no</style></head>"],
    ["comments", "<!-- no --><!--[if mso]><p>no</p><![endif]-->"],
    ["hidden elements", '<div style="color:red;display:none">no</div><p hidden>no</p>'],
    ["frames, objects, templates", "<iframe>no</iframe><object>no</object><template>no</template>"],
  ])("%s", async (_name, html) => {
    expect(await plainText(`<html>${html}<body>${html}<p>yes</p></body></html>`)).toBe("yes");
  });
});

describe("whatever comes, in little time", () => {
  const times = (piece: string, characters: number) => piece.repeat(characters / piece.length);

  test.each([
    ..."<div> <b> <p> <br> <table><tr><td> <ul><li> <blockquote> <a\u00a0href=https://e.example>x".split(
      " ",
    ),
    ..."</p> <!-- < & &amp; <x <body> <td>x</td> <tr><th>x <div\u00a0a='<'> <font><p> <svg><path/>".split(
      " ",
    ),
  ])("%s, again and again", async (piece) => {
    const html = times(piece.replace("\u00a0", " "), 1024 * 1024);
    const begun = performance.now();
    expect(typeof (await plainText(html))).toBe("string");
    // A tenth of a second to two on one machine; quadratic time would be minutes.
    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  test("a table of absurd spans", async () => {
    const html = '<table><tr><th colspan="1000000000" rowspan="1000000000">x</th></tr></table>';
    expect(await plainText(html)).toBe("x");
  });

  test("what is too much is left out, and that is said", async () => {
    const text = await plainText(times("<p>All work and no play.</p>", 3 * 1024 * 1024));
    expect(text.length).toBeLessThan(1024 * 1024);
    expect(text.endsWith("\n\n[…]")).toBe(true);
  });

  test("a cut never leaves half a character", async () => {
    const text = await plainText(`x${"😀".repeat(1024 * 1024)}`);
    expect(Buffer.from(text).toString()).toBe(text);
  });
});
