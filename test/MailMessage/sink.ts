/** A server that throws content away, and tells its octets in the final reply. Prints its port. */
import { createServer } from "node:net"
import { stdout } from "node:process"

const endOfData = Buffer.from("\r\n.\r\n")

const server = createServer((socket) => {
  let receiving = false
  let octets = 0
  let tail = Buffer.alloc(0)
  const reply = (line: string): void => {
    socket.write(`${line}\r\n`)
  }
  const commands = (text: string): void => {
    for (const line of text.split("\r\n")) {
      if (line.startsWith("EHLO")) reply("250-sink\r\n250-PIPELINING\r\n250 8BITMIME")
      else if (line === "QUIT") socket.end("221 bye\r\n")
      else if (line === "DATA") {
        receiving = true
        octets = 0
        tail = Buffer.alloc(0)
        reply("354 go on")
      } else if (line !== "") reply("250 ok")
    }
  }
  socket.on("error", () => undefined)
  socket.on("data", (chunk: Buffer) => {
    if (!receiving) {
      commands(chunk.toString("latin1"))
      return
    }
    octets += chunk.length
    tail = Buffer.concat([tail, chunk.subarray(-5)]).subarray(-5)
    if (!tail.equals(endOfData)) return
    receiving = false
    reply(`250 ${octets - 3} octets`)
  })
  reply("220 sink")
})

server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  stdout.write(`${typeof address === "object" ? (address?.port ?? 0) : 0}\n`)
})
