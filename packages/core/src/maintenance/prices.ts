import { VarveError } from "../base/errors.ts";
import { JsonRecord } from "../base/json.ts";
import { requestCount, type Usage } from "../blob/meter.ts";

/** What storage bills; an amount left out of a list costs nothing. Amounts are in `currency`. */
export interface Prices {
  /** For people: any text. */
  readonly currency: string;
  readonly listPer1000: number;
  /** `head`, too. */
  readonly getPer1000: number;
  readonly putPer1000: number;
  readonly deletePer1000: number;
  /** For each 10^9 bytes that leave storage. */
  readonly readPerGb: number;
  readonly writePerGb: number;
}

/** Amazon S3 Standard, us-east-1, read from the Internet, first tier, as listed publicly in 2025. */
export const S3_PRICES: Prices = {
  currency: "USD",
  listPer1000: 0.005,
  getPer1000: 0.0004,
  putPer1000: 0.005,
  deletePer1000: 0,
  readPerGb: 0.09,
  writePerGb: 0,
};

const AMOUNTS = [
  "listPer1000",
  "getPer1000",
  "putPer1000",
  "deletePer1000",
  "readPerGb",
  "writePerGb",
] as const;

export function costOf({ requests, bytesRead, bytesWritten }: Usage, prices: Prices): number {
  return (
    (requests.list * prices.listPer1000 +
      (requests.get + requests.head) * prices.getPer1000 +
      requests.put * prices.putPer1000 +
      requests.delete * prices.deletePer1000) /
      1000 +
    (bytesRead * prices.readPerGb + bytesWritten * prices.writePerGb) / 1e9
  );
}

/** Members as of {@link Prices}; what is left out is `base`'s. Throws `corrupt` for what is no price, or unknown. */
export function parsePrices(json: unknown, base: Prices = S3_PRICES): Prices {
  const record = new JsonRecord(json, "prices");
  const unknown = record.keys().find((key) => key !== "currency" && !isAmount(key));
  if (unknown !== undefined) {
    throw new VarveError("corrupt", `prices: there is no ${JSON.stringify(unknown)}`);
  }
  const amounts = AMOUNTS.map((key) => [key, amountOf(record, key) ?? base[key]]);
  return {
    ...base,
    currency: record.string("currency") ?? base.currency,
    ...Object.fromEntries(amounts),
  };
}

function isAmount(key: string): boolean {
  return AMOUNTS.some((amount) => amount === key);
}

/** Throws `corrupt` for what is no number of at least 0. */
export function amountOf(record: JsonRecord, key: string): number | undefined {
  const value = record.raw(key);
  if (value === undefined) {
    return undefined;
  }
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    throw new VarveError("corrupt", `${record.what}: ${JSON.stringify(key)} is not an amount`);
  }
  return value;
}

/** What a run may use in all. */
export interface PlanLimits {
  readonly requests: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** By the prices of the plan. */
  readonly cost: number;
}

/** Which limit `usage` is over, for people; `undefined` when it is over none. */
export function limitPassed(usage: Usage, limits: PlanLimits, prices: Prices): string | undefined {
  const cost = costOf(usage, prices);
  if (requestCount(usage) > limits.requests) {
    return `${requestCount(usage)} requests would be made, and the plan allows ${limits.requests}`;
  }
  if (usage.bytesRead > limits.bytesRead) {
    return `${usage.bytesRead} bytes would be read, and the plan allows ${limits.bytesRead}`;
  }
  if (usage.bytesWritten > limits.bytesWritten) {
    return `${usage.bytesWritten} bytes would be written, and the plan allows ${limits.bytesWritten}`;
  }
  return cost > limits.cost
    ? `it would cost ${prices.currency} ${cost.toFixed(6)}, and the plan allows ${limits.cost.toFixed(6)}`
    : undefined;
}
