import { createInterface } from "node:readline/promises";

/** Asks on the terminal; anything but a no is a yes. Without a terminal there is nobody who could say yes. */
export async function confirm(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    return false;
  }
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return !/^\s*n/i.test(await reader.question(question));
  } finally {
    reader.close();
  }
}
