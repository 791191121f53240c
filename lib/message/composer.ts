/** What turns a checked request into content: one door, so that it can be loaded lazily as a whole. */
export { compose } from "./compose.ts";
export { parseRaw } from "./raw.ts";
