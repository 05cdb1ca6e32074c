import { printLine } from "./output.ts";

/** A JSON array on standard output, one element a line, as it comes: nothing long is held in memory. */
export class JsonList {
  #count = 0;

  /** `before` is what stands before the array in its document. */
  constructor(before = "") {
    process.stdout.write(`${before}[`);
  }

  add(item: object): void {
    process.stdout.write(`${this.#count++ === 0 ? "\n" : ",\n"} ${JSON.stringify(item)}`);
  }

  end(after = ""): void {
    printLine(`${this.#count === 0 ? "" : "\n"}]${after}`);
  }
}

/** All of `items` as one JSON array. */
export async function printJsonList(
  items: AsyncIterable<object> | Iterable<object>,
): Promise<void> {
  const list = new JsonList();
  for await (const item of items) {
    list.add(item);
  }
  list.end();
}
