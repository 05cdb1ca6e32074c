// Lets a program in a network namespace of its own reach some ports of the machine's loopback, and nothing else:
// relay.mjs FOLDER PORT… listens there, and passes each connection to the socket FOLDER/PORT.
import { connect, createServer } from "node:net";

const [folder, ...ports] = process.argv.slice(2);
for (const port of ports) {
  const server = createServer((near) => {
    const far = connect(`${folder}/${port}`);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      from.on("error", () => to.destroy()).on("close", () => to.destroy());
      from.pipe(to);
    }
  });
  server.listen(Number(port), "127.0.0.1");
}
