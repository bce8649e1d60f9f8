// Logs the messages of WebSockets: direction, opcode, size, and how they begin.
//
// Whatever is in a message, its line is one line of characters that show as they are: the rest is
// escaped as in JSON, and what is binary is in hexadecimal.

import {
  CONTINUE, Field, Level, bodyLength, bodyPart, count, field, isFromClient, isText, log,
} from "../../sdk/int3";

const MOST: i32 = 400;

let preview: i32 = 120;
let level: i32 = Level.INFO;

export function int3_abi_version(): i32 {
  return 1;
}

export function plugin_init(): i32 {
  const config = field(Field.CONFIGURATION);
  if (config !== null && configure(config)) return 0;
  log(Level.ERROR, "config takes preview (0 to 400) and level (debug, info or warn)");
  return 1;
}

export function on_websocket_message(): i32 {
  const length = bodyLength();
  const side = isFromClient() ? "client" : "server";
  const kind = isText() ? "text" : "binary";
  count(side + " " + kind, 1);
  if (length < 0) return CONTINUE;
  count(side + " bytes", length);
  let line = side + ": " + kind + ", " + length.toString() + (length == 1 ? " byte" : " bytes");
  const begin = preview > 0 && length > 0 ? bodyPart(0, preview) : null;
  if (begin !== null) {
    const shown = isText() ? quoted(begin, length > preview) : inHexadecimal(begin);
    line += ": " + shown + (length > preview ? "..." : "");
  }
  log(level, line);
  return CONTINUE;
}

/** Take the configuration, which is compact JSON; false where it says what is unknown. */
function configure(config: string): bool {
  if (!config.startsWith("{") || !config.endsWith("}")) return false;
  const members = config.substring(1, config.length - 1);
  if (members.length == 0) return true;
  const parts = members.split(",");
  for (let index = 0; index < parts.length; index++) {
    const colon = parts[index].indexOf(":");
    const value = parts[index].substring(colon + 1);
    const name = parts[index].substring(0, colon);
    if (name == '"preview"') {
      const number = I32.parseInt(value);
      if (number.toString() != value || number < 0 || number > MOST) return false;
      preview = number;
    } else if (name == '"level"') {
      if (value == '"debug"') level = Level.DEBUG;
      else if (value == '"info"') level = Level.INFO;
      else if (value == '"warn"') level = Level.WARN;
      else return false;
    } else return false;
  }
  return true;
}

/** Where what is shown of a message is put together, in UTF-16: no byte takes more than 6 units. */
const SHOWN: usize = memory.data(8192);
let end: usize = SHOWN;

function put(unit: u32): void {
  store<u16>(end, <u16>unit);
  end += 2;
}

function putHexadecimal(number: u32): void {
  if (number >= 16) putHexadecimal(number >> 4);
  const digit = number & 15;
  put(digit + (digit < 10 ? 0x30 : 0x57));
}

/** Text between quotation marks, without half a character at its end where more would follow. */
function quoted(bytes: ArrayBuffer, isCut: bool): string {
  const whole = isCut ? wholeCharacters(bytes) : bytes.byteLength;
  const text = String.UTF8.decodeUnsafe(changetype<usize>(bytes), whole);
  end = SHOWN;
  put(0x22);
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    const code = text.codePointAt(index);
    if (code > 0xffff) index++;
    if (!isPlain(code)) {
      putEscaped(code);
    } else {
      put(unit);
      if (code > 0xffff) put(text.charCodeAt(index));
    }
  }
  put(0x22);
  return String.UTF16.decodeUnsafe(SHOWN, end - SHOWN);
}

function putEscaped(code: u32): void {
  put(0x5c);
  if (code == 0x0a) return put(0x6e);
  if (code == 0x0d) return put(0x72);
  if (code == 0x09) return put(0x74);
  if (code == 0x22 || code == 0x5c) return put(code);
  put(0x75);
  put(0x7b);
  putHexadecimal(code);
  put(0x7d);
}

function inHexadecimal(bytes: ArrayBuffer): string {
  end = SHOWN;
  for (let index = 0; index < bytes.byteLength; index++) {
    const byte = load<u8>(changetype<usize>(bytes) + index);
    if (index > 0) put(0x20);
    if (byte < 16) put(0x30);
    putHexadecimal(byte);
  }
  return String.UTF16.decodeUnsafe(SHOWN, end - SHOWN);
}

/** How many of the bytes are whole characters of UTF-8. */
function wholeCharacters(bytes: ArrayBuffer): i32 {
  const start = changetype<usize>(bytes);
  const length = bytes.byteLength;
  let last = length - 1; // where the last character begins
  while (last > 0 && length - last < 4 && (load<u8>(start + last) & 0xc0) == 0x80) last--;
  const first = load<u8>(start + last);
  const width = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  return last + width > length ? last : length;
}

/** Whether a character shows as it is, and has no effect on how others show. */
function isPlain(code: i32): bool {
  if (code < 0x7f) return code >= 0x20 && code != 0x22 && code != 0x5c;
  if (code < 0xa0 || code == 0xad || code == 0x61c || code == 0xfeff) return false;
  if (code >= 0x200b && code <= 0x200f) return code == 0x200d; // which joins emoji
  if (code >= 0x2028 && code <= 0x202e) return false;
  if (code >= 0x2060 && code <= 0x206f) return false;
  return (code < 0xd800 || code > 0xdfff) && (code < 0xe0000 || code > 0xe0fff);
}
