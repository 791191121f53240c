/** How contenders are compared: in turns, and by the median, with its spread beside it. */

export interface Figure {
  readonly median: number;
  /** Quartiles: half of the samples lie between them. */
  readonly low: number;
  readonly high: number;
  readonly runs: number;
}

export function figure(samples: readonly number[]): Figure {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (part: number): number => {
    const place = (sorted.length - 1) * part;
    const [below, above] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
    if (below === undefined || above === undefined) throw new Error("nothing was measured");
    return round(below + (above - below) * (place % 1));
  };
  return { median: at(0.5), low: at(0.25), high: at(0.75), runs: sorted.length };
}

export type Contenders<T> = Readonly<Record<string, () => Promise<T>>>;

/**
 * Runs them in turns. Each round begins with another one, and every second goes backwards: what a
 * machine does beside hits all alike, and nobody always comes after the same one.
 */
export async function alternate<T>(
  contenders: Contenders<T>,
  runs: number,
  warmUps = 0,
): Promise<ReadonlyMap<string, readonly T[]>> {
  const names = Object.keys(contenders);
  const samples = new Map(names.map((name) => [name, [] as T[]]));
  for (let run = -warmUps; run < runs; run += 1) {
    const first = Math.abs(run) % names.length;
    const order = [...names.slice(first), ...names.slice(0, first)];
    if (run % 2 !== 0) order.reverse();
    for (const name of order) {
      const sample = await contenders[name]?.();
      if (run >= 0 && sample !== undefined) samples.get(name)?.push(sample);
    }
  }
  return samples;
}

/** Of medians, to two decimals. */
export const ratio = (one: Figure | undefined, other: Figure | undefined): number =>
  one && other ? Math.round((one.median / other.median) * 100) / 100 : Number.NaN;

export const round = (value: number): number =>
  Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));

export const shown = ({ median, low, high }: Figure): string => `${median} (${low}–${high})`;

/** Columns as wide as what stands in them; the first is left-aligned. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return column === 0 ? cell.padEnd(width) : cell.padStart(width);
        })
        .join("  "),
    )
    .join("\n");
}
