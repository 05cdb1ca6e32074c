/**
 * Patterns in the lists of resources and namespaces: `*` any text, `?` one character, `[a-c]` one of a class (spec
 * section 2.3). Takes time in proportion to pattern times text, whatever the pattern.
 */

type Token = "*" | "?" | { readonly among: (character: string) => boolean };

export function hasPattern(text: string): boolean {
  return /[*?[]/.test(text);
}

export function globMatch(pattern: string, text: string): boolean {
  if (!hasPattern(pattern)) {
    return pattern === text;
  }
  const tokens = tokensOf(pattern);
  let token = 0;
  let at = 0;
  let star = -1; // the last `*`, and what it has taken so far
  let starEnd = 0;
  while (at < text.length) {
    const current = tokens[token];
    if (current === "*") {
      star = token++;
      starEnd = at;
    } else if (current !== undefined && matchesOne(current, text.charAt(at))) {
      token++;
      at++;
    } else if (star >= 0) {
      token = star + 1;
      at = ++starEnd;
    } else {
      return false;
    }
  }
  return tokens.slice(token).every((left) => left === "*");
}

export function matchesAny(patterns: readonly string[], text: string): boolean {
  return patterns.some((pattern) => globMatch(pattern, text));
}

function matchesOne(token: Token, character: string): boolean {
  return token === "?" || (token !== "*" && token.among(character));
}

function tokensOf(pattern: string): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern.charAt(at);
    const end = character === "[" ? pattern.indexOf("]", at + 1) : -1;
    if (end > at + 1) {
      tokens.push({ among: classOf(pattern.slice(at + 1, end)) });
      at = end;
    } else if (character === "*" || character === "?") {
      tokens.push(character);
    } else {
      tokens.push({ among: (other) => other === character });
    }
  }
  return tokens;
}

function classOf(text: string): (character: string) => boolean {
  const negated = text.length > 1 && (text.startsWith("!") || text.startsWith("^"));
  const ranges: [string, string][] = [];
  for (let at = negated ? 1 : 0; at < text.length; at++) {
    const from = text.charAt(at);
    const isRange = text.charAt(at + 1) === "-" && at + 2 < text.length;
    ranges.push([from, isRange ? text.charAt(at + 2) : from]);
    at += isRange ? 2 : 0;
  }
  return (character) =>
    ranges.some(([from, to]) => from <= character && character <= to) !== negated;
}
