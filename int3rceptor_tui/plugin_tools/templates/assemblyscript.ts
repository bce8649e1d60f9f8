// NAME: adds a header to every response.

import { CONTINUE, setHeader } from "./int3";

export function int3_abi_version(): i32 {
  return 1;
}

export function on_response(): i32 {
  setHeader("X-Plugin", "NAME");
  return CONTINUE;
}
