/**
 * The bill of materials (CycloneDX): what is deployed, and nothing that only builds or tests it.
 *
 * Rule guarded here: the list is complete. `npm sbom --omit dev` leaves out every package that some
 * development tool needs too, as zod and nodemailer; so npm is asked about a project that has no
 * such tools: this one's lockfile without them, in a folder of its own.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

type Manifest = Readonly<Record<string, unknown>>;
interface Lockfile extends Manifest {
  readonly packages: Readonly<Record<string, Manifest>>;
}

const read = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), "utf8")) as T;

function withoutTools({ devDependencies: _, ...rest }: Manifest): Manifest {
  return rest;
}

function deployedOnly(lockfile: Lockfile): Lockfile {
  const kept = Object.entries(lockfile.packages)
    .filter(([, { dev, devOptional }]) => !dev && !devOptional)
    .map(([path, entry]) => [path, path === "" ? withoutTools(entry) : entry]);
  return { ...lockfile, packages: Object.fromEntries(kept) };
}

const folder = mkdtempSync(join(tmpdir(), "posthaste-sbom-"));
try {
  // npm names the bill's subject after the folder.
  const project = join(folder, "posthaste");
  mkdirSync(project);
  const write = (name: string, value: unknown) =>
    writeFileSync(join(project, name), JSON.stringify(value));
  write("package.json", withoutTools(read<Manifest>("package.json")));
  write("package-lock.json", deployedOnly(read<Lockfile>("package-lock.json")));
  execFileSync("npm", ["sbom", "--sbom-format", "cyclonedx", "--package-lock-only"], {
    cwd: project,
    stdio: "inherit",
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
