// Integers of 64 bits are numbers here, which are exact up to 2^53. Beyond it they are refused, not rounded. For the file that `hotshoe build` writes.

import { HotshoeError, InvalidInput } from "./errors.js";

const isExact = (value) => typeof value === "bigint" || Number.isSafeInteger(value);

export function exactIntegers(Tensor) {
  const { fromI64 } = Tensor;
  const { readI64 } = Tensor.prototype;
  Tensor.fromI64 = (shape, values) => {
    if (ArrayBuffer.isView(values)) return fromI64(shape, values);
    const wrong = values.findIndex((value) => !isExact(value));
    if (wrong >= 0) throw new InvalidInput(`fromI64: [${wrong}] is ${values[wrong]}, and a number beyond 2^53 is not exact: give a BigInt, or its bytes to fromBytes`);
    return fromI64(shape, values.some((value) => typeof value === "bigint") ? BigInt64Array.from(values, BigInt) : values);
  };
  Tensor.prototype.readI64 = function () {
    const values = readI64.call(this);
    const wrong = values.findIndex((value) => !isExact(value));
    if (wrong >= 0) throw new HotshoeError(`readI64: [${wrong}] is beyond 2^53, where a number is not exact: read it with readBytes() and BigInt64Array`);
    return values;
  };
}
