// Sends two messages over one pooled connection with Nodemailer.
// Arguments and environment as for send_smtplib.py.
const fs = require("fs");
const nodemailer = require("nodemailer");

const [mode, port, ca, user, sender, recipient, subject] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  host: "localhost",
  port: Number(port),
  secure: mode === "implicit",
  requireTLS: mode === "starttls",
  pool: true,
  maxConnections: 1,
  auth: { user, pass: process.env.GATEPOST_PASSWORD },
  tls: { ca: fs.readFileSync(ca) },
});

async function main() {
  const text = "Grüße von Nodemailer.\n.\n";
  const attachments = [{ filename: "größe.bin", content: Buffer.alloc(100000, 7) }];
  await transport.sendMail({ from: sender, to: recipient, subject, text });
  await transport.sendMail({ from: sender, to: recipient, subject: `${subject} again`, text, attachments });
  transport.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
