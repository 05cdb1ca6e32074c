import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/**
 * versitygw tells, as the time of a version that is no longer the newest, when it ceased to be so; S3 tells when it
 * was written. Its version ids hold that time, and this server in front of it puts it into the listings of versions.
 * Everything else passes as it is.
 */
export interface VersionTimes extends AsyncDisposable {
  /** `http://127.0.0.1:port`. */
  readonly endpoint: string;
}

export async function correctVersionTimes(target: string): Promise<VersionTimes> {
  const agent = new Agent({ keepAlive: true });
  const server = createServer((incoming, answer) => {
    forward({ target, agent }, incoming, answer).catch(() => answer.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return {
    endpoint: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      agent.destroy();
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function forward(
  { target, agent }: { readonly target: string; readonly agent: Agent },
  incoming: IncomingMessage,
  answer: ServerResponse,
): Promise<void> {
  const { hostname, port } = new URL(target);
  const { method, url = "/", rawHeaders: headers } = incoming;
  const upstream = request({ agent, hostname, port, method, path: url, headers, setHost: false });
  incoming.pipe(upstream);
  const [response] = (await once(upstream, "response")) as [IncomingMessage];
  const { statusCode = 502 } = response;
  if (!/[?&]versions(?:[=&]|$)/.test(url) || statusCode !== 200) {
    answer.writeHead(statusCode, response.rawHeaders);
    response.pipe(answer);
    return;
  }
  const parts: Buffer[] = [];
  for await (const part of response) {
    parts.push(part as Buffer); // of a stream without encoding
  }
  const body = withTimesOfIds(Buffer.concat(parts).toString());
  answer.writeHead(statusCode, { "content-type": "application/xml" }).end(body);
}

function withTimesOfIds(xml: string): string {
  return xml.replaceAll(/<(Version|DeleteMarker)>.*?<\/\1>/gs, (entry) => {
    const [, id = ""] = /<VersionId>([0-9A-HJKMNP-TV-Z]{26})</.exec(entry) ?? [];
    const time = `<LastModified>${new Date(timeOfId(id)).toISOString()}</LastModified>`;
    return id === "" ? entry : entry.replace(/<LastModified>.*?<\/LastModified>/, time);
  });
}

const DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** Milliseconds since the Unix epoch: the first ten digits of a ULID. */
function timeOfId(id: string): number {
  return Array.from(id.slice(0, 10)).reduce((time, digit) => time * 32 + DIGITS.indexOf(digit), 0);
}
