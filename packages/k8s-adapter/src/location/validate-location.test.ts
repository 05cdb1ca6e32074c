import { VarveError } from "@varve/core";
import { expect, test } from "vitest";
import { redactedMessage } from "./validate-location.ts";

test("what opens a door is taken out of messages, and they have an end", () => {
  const url = "https://a.blob.core.windows.net/c?sv=2024&se=2027&sp=rw&sig=abc%2Fdef%3D list";
  const message = redactedMessage(new VarveError("storage-failed", `GET ${url} AccountKey=k==;x`));
  expect(message).toContain("a.blob.core.windows.net/c?");
  for (const secret of ["abc", "def", "k=="]) {
    expect(message).not.toContain(secret);
  }
  const signed = redactedMessage(new Error("X-Amz-Signature=0123 X-Amz-Credential=AK/2026"));
  expect(signed).toBe("X-Amz-Signature=[redacted] X-Amz-Credential=[redacted]");
  expect(redactedMessage(new Error("x".repeat(5000)))).toHaveLength(1000);
});
