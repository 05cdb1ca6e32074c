/** The text formats of credentials in secrets. What cannot be understood is left out, and missed by who looks for it. */

/** The profiles of an AWS credentials file: sections of `key = value`; `[profile x]` is `x`. */
export function parseProfiles(text: string): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const profiles = new Map<string, Map<string, string>>();
  let current: Map<string, string> | undefined;
  for (const line of linesOf(text)) {
    if (line.startsWith("[")) {
      const end = line.indexOf("]");
      const section = line
        .slice(1, end < 0 ? undefined : end)
        .trim()
        .replace(/^profile\s+/, "");
      current = profiles.get(section) ?? new Map();
      profiles.set(section, current);
      continue;
    }
    const equals = line.indexOf("=");
    if (equals > 0) {
      current?.set(line.slice(0, equals).trim().toLowerCase(), line.slice(equals + 1).trim());
    }
  }
  return profiles;
}

/** The variables of a file of `KEY=value` lines, with or without quotes and `export`. */
export function parseEnvironmentFile(text: string): ReadonlyMap<string, string> {
  const variables = new Map<string, string>();
  for (const line of linesOf(text)) {
    const [, key, value] = /^(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) {
      const [, quoted] =
        /^(?:"(.*)"|'(.*)')$/.exec(value)?.filter((part) => part !== undefined) ?? [];
      variables.set(key, quoted ?? value);
    }
  }
  return variables;
}

function* linesOf(text: string): Generator<string> {
  for (const line of text.split(/\r\n|\r|\n/)) {
    const trimmed = line.trim();
    if (trimmed !== "" && !trimmed.startsWith("#") && !trimmed.startsWith(";")) {
      yield trimmed;
    }
  }
}
