// What there is without an import, beside the language itself.

/** Lines in the device's log where release.toml grants `log`; else they go nowhere. */
declare const console: Record<"trace" | "debug" | "log" | "info" | "warn" | "error", (...values: unknown[]) => void>;

/** UTF-8 alone. */
declare class TextDecoder {
  decode(bytes?: Uint8Array | ArrayBuffer): string;
}
declare class TextEncoder {
  encode(text?: string): Uint8Array;
}
