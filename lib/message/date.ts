/**
 * Dates of a request: RFC 3339 (`2025-07-01T10:00:00+08:00`) or RFC 5322 §3.3
 * (`Tue, 1 Jul 2025 10:00:00 +0800`), always with a zone: what lacks one means another time
 * on another machine.
 */

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const ISO =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?([Zz]|[+-]\d\d:?\d\d)$/;
const MAIL =
  /^(?:[a-z]{3}, )?(\d{1,2}) ([a-z]{3}) (\d{4}) (\d\d):(\d\d)(?::(\d\d))? (gmt|utc?|[+-]\d{4})$/i;

/** The point in time, or `undefined` where the text is no date, or no day of the calendar. */
export function parseDate(text: string): Date | undefined {
  const iso = ISO.exec(text);
  if (iso) {
    const [, year, month, day, hour, minute, second, fraction, zone] = iso;
    return assemble([year, month, day, hour, minute, second], zone, fraction);
  }
  const mail = MAIL.exec(text);
  if (!mail) return undefined;
  const [, day, name = "", year, hour, minute, second, zone] = mail;
  const month = MONTHS.indexOf(name.toLowerCase()) + 1;
  return month === 0 ? undefined : assemble([year, month, day, hour, minute, second], zone);
}

function assemble(
  parts: readonly (string | number | undefined)[],
  zone = "",
  fraction = "0",
): Date | undefined {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.map((part) =>
    Number(part ?? 0),
  );
  const [, sign, hours, minutes] = /^([+-])(\d\d):?(\d\d)$/.exec(zone) ?? [];
  const offset = (sign === "-" ? -1 : 1) * (Number(hours ?? 0) * 60 + Number(minutes ?? 0));
  // RFC 5322 §3.3: a year of four digits, 1900 or later. A leap second is the next second.
  if (year < 1900 || hour > 23 || minute > 59 || second > 60 || Math.abs(offset) > 1439) {
    return undefined;
  }
  const midnight = new Date(Date.UTC(year, month - 1, day));
  if (midnight.getUTCMonth() !== month - 1 || midnight.getUTCDate() !== day) return undefined;
  const milliseconds = Math.floor(Number(`0.${fraction}`) * 1000);
  return new Date(Date.UTC(year, month - 1, day, hour, minute - offset, second, milliseconds));
}

/** RFC 5322 §3.3, in UTC: `Tue, 01 Jul 2025 02:00:00 +0000`. */
export function formatDate(date: Date): string {
  return date.toUTCString().replace("GMT", "+0000");
}
