/** Whether Chromium is installed, and where: `test/browser/install.sh` puts it there. */
import { existsSync } from "node:fs";

export const chromiumPath = process.env.POSTHASTE_CHROMIUM ?? "/usr/bin/chromium";

let told = false;

/**
 * Can the page be tried here? When not, the reason is printed once, so that a test skipped by name
 * says why; with POSTHASTE_REQUIRE_CHROMIUM=1 it is an error instead.
 */
export function chromiumAvailable(): boolean {
  if (existsSync(chromiumPath)) return true;
  const reason = `no browser at ${chromiumPath}: run test/browser/install.sh`;
  if (process.env.POSTHASTE_REQUIRE_CHROMIUM === "1") throw new Error(reason);
  if (!told) console.warn(`skipping tests in Chromium: ${reason}`);
  told = true;
  return false;
}
