export { VarveError } from "./base/errors.ts";
