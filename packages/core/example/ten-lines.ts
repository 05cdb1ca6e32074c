import * as varve from "@varve/core";

const [folder = ".", storage = "backup", target = "restored"] = process.argv.slice(2);
const password = process.env["VARVE_PASSWORD"] ?? "correct horse battery staple";
await using store = await varve.openFileSystemStore(storage, { create: true });
await varve.createRepository(store, { password });
await using repository = await varve.openRepository(store, { password, workers: 1 });

const { snapshot } = await varve.createSnapshot(repository, {
  path: folder,
  onProgress: ({ bytesHashed }) => console.log(`${bytesHashed} bytes read`),
});
for (const { id, startTimeNs } of (await varve.listSnapshots(repository)).snapshots) {
  console.log(`snapshot ${id} of ${varve.formatTimeNs(startTimeNs)}`);
}
const entry = await varve.findEntry(repository, snapshot.root, "docs/text.txt");
const file = await repository.objects.open(entry.object);
console.log(new TextDecoder().decode(await file.read({ offset: 0, length: 24 })));

const report = await varve.restore(repository, {
  root: snapshot.root,
  target: varve.localTarget(target),
});
console.log(`restored ${report.files} files, ${report.failures.length} failures`);

const { policy } = await varve.effectivePolicy(repository, { type: "path", ...snapshot.source });
const expired = await varve.applyRetention(repository, { source: snapshot.source, policy });
await repository.flush();
console.log(`retention deleted ${expired.length} snapshots`);
