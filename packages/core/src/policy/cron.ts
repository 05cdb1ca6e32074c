/**
 * Whether a stored cron expression has the shape that Kopia accepts: five to seven fields (minutes first; seconds and years
 * are extensions), text after `#` being a comment. varve stores schedules and does not run them.
 */
export function validCron(expression: string): boolean {
  const text = (expression.split("#", 1)[0] ?? "").trim();
  if (text === "" || /^@(?:yearly|annually|monthly|weekly|daily|hourly)$/.test(text)) {
    return true;
  }
  const fields = text.split(/\s+/);
  return (
    fields.length >= 5 && fields.length <= 7 && fields.every((field) => CRON_FIELD.test(field))
  );
}

const ITEM = String.raw`(?:\*|\?|[0-9A-Za-z]+(?:-[0-9A-Za-z]+)?)(?:/\d+)?`;
const CRON_FIELD = new RegExp(`^${ITEM}(?:,${ITEM})*$`);
