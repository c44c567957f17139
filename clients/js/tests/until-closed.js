// Usage: node until-closed.js OPTIONS
// Runs a client without any browser around it. A notice `{"close":true}` closes it; then nothing may be left
// that keeps the process alive. `{"n":499}` is reported at once; the last line of output has what it saw.
import { connect } from "../roomcast.js";
import { observed } from "./observed.js";

observed(connect, JSON.parse(process.argv[2]));
const take = seen.client.onnotice;
seen.client.onnotice = (notice) => {
  take(notice);
  if (notice.data.n === 499) console.log("the last one");
  if (notice.data.close) seen.client.close();
};
seen.client.onstatus = (change) => {
  seen.statuses.push(change);
  if (change.status === "open") console.log("open");
};
process.on("exit", () => {
  const { client, ...rest } = seen;
  console.log(JSON.stringify({ ...rest, status: client.status, counts: client.counts }));
});
