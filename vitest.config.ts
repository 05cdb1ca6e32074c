import { defineConfig } from "vitest/config";

const project = (name: string, root: string) => ({
  test: {
    name,
    root,
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**"],
    testTimeout: 120_000,
  },
});

export default defineConfig({
  test: {
    projects: [
      project("core", "packages/core"),
      project("cli", "packages/cli"),
      project("scripts", "scripts"),
    ],
  },
});
