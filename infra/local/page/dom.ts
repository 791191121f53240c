/**
 * Elements made by hand.
 *
 * Rule guarded here: whatever is shown is text. Nothing here, and nothing in the page, takes markup
 * from a string; its policy would refuse it.
 */
type Child = Node | string | undefined | false;
type Attributes = Readonly<Record<string, string | boolean | undefined | ((event: Event) => void)>>;

/** An attribute that is `true` is set empty, one that is false or undefined not at all. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key.replace(/^on/, ""), value);
    else if (value !== undefined && value !== false) {
      made.setAttribute(key, value === true ? "" : value);
    }
  }
  made.append(...children.filter((child) => child !== undefined && child !== false));
  return made;
}

/** @throws where the page has no such element, or another kind of it */
export function find<T extends HTMLElement>(
  selector: string,
  kind: new () => T,
  within: ParentNode = document,
): T {
  const found = within.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`the page has no ${selector}`);
  return found;
}

export const show = (target: HTMLElement, shown: boolean): void => {
  target.hidden = !shown;
};

/** A group of radio buttons that looks like one control. */
export function choice<T extends string>(options: {
  readonly name: string;
  readonly label: string;
  readonly values: readonly (readonly [value: T, label: string])[];
  readonly chosen: T;
  readonly choose: (value: T) => void;
}): HTMLElement {
  return element(
    "fieldset",
    { class: "choice" },
    element("legend", { class: "unseen" }, options.label),
    ...options.values.map(([value, label]) => {
      const input = element("input", {
        type: "radio",
        name: options.name,
        value,
        checked: value === options.chosen,
        onchange: () => options.choose(value),
      });
      return element("label", {}, input, element("span", {}, label));
    }),
  );
}

/** Says for a moment that it did. */
export function copyButton(label: string, done: string, text: () => string): HTMLButtonElement {
  const button = element("button", { type: "button", class: "quiet" }, label);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    button.textContent = done;
    setTimeout(() => {
      button.textContent = label;
    }, 1500);
  });
  return button;
}
