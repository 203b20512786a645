// Requests to the server that this page came from.

const token = new URLSearchParams(location.search).get("token") ?? "";

async function request(path, body, type) {
  const headers = { "x-sppdet-token": token };
  if (type) headers["content-type"] = type;
  let answer;
  try {
    answer = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body });
  } catch {
    throw new Error("the server does not answer: is sppdet app still running?");
  }
  if (answer.ok) return answer;
  let text = `the server answered ${answer.status}`;
  try {
    text = (await answer.json()).error;
  } catch { /* no JSON */ }
  throw new Error(text);
}

export const get = async (path) => (await request(path)).json();
export const getBlob = async (path) => (await request(path)).blob();
export const send = async (path, data) => (await request(path, data, "application/octet-stream")).json();
const question = (path, value) => request(path, JSON.stringify(value), "application/json");
export const ask = async (path, value) => (await question(path, value)).json();
export const askArrays = async (path, value) => unpack(await (await question(path, value)).arrayBuffer());

// A header in JSON, then arrays of 4-byte numbers: see payloads.pack.
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let place = 4 + length;
  for (const { name, dtype, shape } of header.arrays) {
    const count = shape.reduce((a, b) => a * b, 1);
    header[name] = new (dtype === "f4" ? Float32Array : Int32Array)(buffer, place, count);
    header[`${name}Shape`] = shape;
    place += 4 * count;
  }
  return header;
}

// Calls `each` with every line of JSON as it comes; ends the request once it returns false.
export async function follow(path, value, each) {
  const reader = (await question(path, value)).body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { value: part, done } = await reader.read();
    text += decoder.decode(part, { stream: !done });
    const lines = text.split("\n");
    text = lines.pop();
    for (const line of lines) {
      const event = JSON.parse(line);
      if (event.error) throw new Error(event.error);
      if (each(event) === false) {
        await reader.cancel();
        return;
      }
    }
    if (done) return;
  }
}
