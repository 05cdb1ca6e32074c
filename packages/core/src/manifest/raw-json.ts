/**
 * Finds values in JSON text without decoding them, so that a document can be passed on as it was written: JSON.parse
 * would round its large numbers. For text that JSON.parse has accepted; anything else gives nonsense, but ends.
 */

/** A value's place in the text: `text.slice(start, end)`. */
export interface RawValue {
  readonly start: number;
  readonly end: number;
}

/** The elements of the array at `at`; none when there is no array. */
export function rawElements(text: string, at: number): RawValue[] {
  const elements: RawValue[] = [];
  let position = skipSpace(text, at);
  if (text[position] !== "[") {
    return elements;
  }
  position = skipSpace(text, position + 1);
  while (position < text.length && text[position] !== "]") {
    const end = endOfValue(text, position);
    elements.push({ start: position, end });
    position = skipSeparator(text, end);
  }
  return elements;
}

/** The member of the object at `at` by the rules of Kopia's reader: any case, an exact match first, the last wins. */
export function rawMember(text: string, at: number, wanted: string): RawValue | undefined {
  let exact: RawValue | undefined;
  let other: RawValue | undefined;
  let position = skipSpace(text, skipSpace(text, at) + 1);
  while (position < text.length && text[position] !== "}") {
    const keyEnd = endOfValue(text, position);
    const key: unknown = JSON.parse(text.slice(position, keyEnd));
    const start = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = endOfValue(text, start);
    if (key === wanted) {
      exact = { start, end };
    } else if (typeof key === "string" && key.toLowerCase() === wanted) {
      other = { start, end };
    }
    position = skipSeparator(text, end);
  }
  return exact ?? other;
}

/** Always beyond `start`, so that a walk ends. */
function endOfValue(text: string, start: number): number {
  const first = text[start];
  if (first === '"') {
    return endOfString(text, start);
  }
  if (first !== "{" && first !== "[") {
    let end = start + 1;
    while (end < text.length && !/[,\]}\s]/.test(text[end] as string)) {
      end++; // end < length
    }
    return end;
  }
  let depth = 0;
  let position = start;
  while (position < text.length) {
    const character = text[position];
    if (character === '"') {
      position = endOfString(text, position);
      continue;
    }
    position++;
    if (character === "{" || character === "[") {
      depth++;
    } else if (character === "}" || character === "]") {
      depth--;
      if (depth === 0) {
        break;
      }
    }
  }
  return position;
}

function endOfString(text: string, start: number): number {
  let position = start + 1;
  while (position < text.length && text[position] !== '"') {
    position += text[position] === "\\" ? 2 : 1;
  }
  return position + 1;
}

function skipSeparator(text: string, at: number): number {
  const position = skipSpace(text, at);
  return text[position] === "," ? skipSpace(text, position + 1) : position;
}

function skipSpace(text: string, at: number): number {
  let position = at;
  while (position < text.length && /\s/.test(text[position] as string)) {
    position++; // position < length
  }
  return position;
}
