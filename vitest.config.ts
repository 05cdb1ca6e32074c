import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { canRunKube } from "./testenv/src/process.ts";

const project = (name: string, root: string, include: string[], more = {}) => ({
  test: {
    ...more,
    name,
    root,
    include,
    exclude: ["**/node_modules/**", "**/dist/**"],
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});

// What runs programs runs them as they were last compiled.
const bundle = fileURLToPath(new URL("scripts/bundle.mjs", import.meta.url));
const packageTests = [
  "src/**/*.test.ts",
  "test/!(interop|cluster|scale|velero)/**/*.test.ts",
  "test/*.test.ts",
];
const projects = [
  project("core", "packages/core", packageTests),
  ...["storage-s3", "storage-azure", "storage-gcs"].map((name) =>
    project(name, `packages/${name}`, packageTests),
  ),
  project("cli", "packages/cli", packageTests, { globalSetup: bundle }),
  project("k8s", "packages/k8s-adapter", packageTests),
  project("testenv", "testenv", ["src/**/*.test.ts"]),
  project("bench", "bench", packageTests),
  project("scripts", "scripts", ["*.test.ts"]),
];

// On a real Kubernetes: after all others, since building it, once, takes long and goes on beside them.
if (canRunKube("the tests on a Kubernetes cluster")) {
  const globalSetup = fileURLToPath(new URL("testenv/src/kube-setup.ts", import.meta.url));
  // The client library alone takes seconds to load: its modules are shared by the files that a worker runs.
  // Most of their time they wait for pods, so more of them run at once.
  const sharing = { isolate: false, maxWorkers: 4 };
  const more = { globalSetup, sequence: { groupOrder: 1 }, ...sharing };
  projects.push(project("cluster", "packages/k8s-adapter", ["test/cluster/**/*.test.ts"], more));
  // Minutes long: VARVE_SCALE=1 npx vitest run --project scale
  if (process.env["VARVE_SCALE"] !== undefined) {
    projects.push(project("scale", "packages/k8s-adapter", ["test/scale/**/*.test.ts"], more));
  }
  // Beside a real Velero, whose binary no registry has; test/velero/real-velero.ts says what the folder holds:
  // VARVE_TEST_VELERO=/path/to/folder npx vitest run --project velero
  if (process.env["VARVE_TEST_VELERO"] !== undefined) {
    projects.push(project("velero", "packages/k8s-adapter", ["test/velero/**/*.test.ts"], more));
  }
}

// Against stock Kopia, whose binary no registry has: VARVE_TEST_KOPIA=/path/to/kopia npx vitest run --project interop
if (process.env["VARVE_TEST_KOPIA"] !== undefined) {
  projects.push(project("interop", "packages", ["*/test/interop/**/*.test.ts"]));
}

export default defineConfig({ test: { projects, maxWorkers: 2 } });
