// Go's net/smtp as a peer: one Client for each connection, content written to its Data writer. Arguments and answer as
// in job.ts; flags that it has no use for are read and left.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net/smtp"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	host       = "127.0.0.1"
	clientName = "client.test"
	sender     = "sender@client.test"
	blockLimit = 65536
)

type job struct {
	port, octets, recipients, connections, warmUp, messages int
	fresh                                                   bool
	ca, user, password, template                            string
	to                                                      []string
	content                                                 []byte
	security                                                *tls.Config
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func readJob() *job {
	j := &job{}
	flag.IntVar(&j.port, "port", 0, "")
	flag.IntVar(&j.octets, "octets", 0, "")
	flag.IntVar(&j.recipients, "recipients", 1, "")
	flag.IntVar(&j.connections, "connections", 1, "")
	flag.IntVar(&j.warmUp, "warmUp", 0, "")
	flag.IntVar(&j.messages, "messages", 0, "")
	flag.BoolVar(&j.fresh, "fresh", false, "")
	flag.StringVar(&j.ca, "ca", "", "")
	flag.StringVar(&j.user, "user", "", "")
	flag.StringVar(&j.password, "password", "", "")
	flag.StringVar(&j.template, "template", "", "")
	flag.String("mode", "", "")
	flag.Bool("streamed", false, "")
	flag.Parse()
	for index := 0; index < j.recipients; index++ {
		number := ""
		if index > 0 {
			number = strconv.Itoa(index)
		}
		j.to = append(j.to, "recipient"+number+"@sink.test")
	}
	var err error
	j.content, err = os.ReadFile(j.template)
	fail(err)
	if j.ca != "" {
		authority, err := os.ReadFile(j.ca)
		fail(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authority)
		j.security = &tls.Config{RootCAs: pool, ServerName: host}
	}
	return j
}

func (j *job) connect() *smtp.Client {
	client, err := smtp.Dial(host + ":" + strconv.Itoa(j.port))
	fail(err)
	fail(client.Hello(clientName))
	if j.security != nil {
		fail(client.StartTLS(j.security))
		fail(client.Auth(smtp.PlainAuth("", j.user, j.password, host)))
	}
	return client
}

// deliver sends the message of a number: each block has it in the octets 9 to 19.
func (j *job) deliver(client *smtp.Client, buffer []byte, message int) {
	digits := fmt.Sprintf("%010d", message)
	for begin := 0; begin < len(buffer); begin += blockLimit {
		copy(buffer[begin+9:begin+19], digits)
	}
	fail(client.Mail(sender))
	for _, to := range j.to {
		fail(client.Rcpt(to))
	}
	writer, err := client.Data()
	fail(err)
	_, err = writer.Write(buffer)
	fail(err)
	fail(writer.Close())
}

func (j *job) copyOfContent() []byte {
	return append([]byte(nil), j.content...)
}

func (j *job) sendFresh(first, count int) {
	buffer := j.copyOfContent()
	for message := first; message < first+count; message++ {
		client := j.connect()
		j.deliver(client, buffer, message)
		fail(client.Quit())
	}
}

func (j *job) sendKept(clients []*smtp.Client, first, count int) {
	next := int64(first)
	var group sync.WaitGroup
	for _, client := range clients {
		group.Add(1)
		go func(client *smtp.Client) {
			defer group.Done()
			buffer := j.copyOfContent()
			for {
				message := int(atomic.AddInt64(&next, 1)) - 1
				if message >= first+count {
					return
				}
				j.deliver(client, buffer, message)
			}
		}(client)
	}
	group.Wait()
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	fail(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

// peakMemory reads the status file: what the operating system counts otherwise includes what the parent held.
func peakMemory() int {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer file.Close()
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		if fields := strings.Fields(scanner.Text()); len(fields) > 1 && fields[0] == "VmHWM:" {
			kibibytes, _ := strconv.Atoi(fields[1])
			return kibibytes * 1024
		}
	}
	return 0
}

func main() {
	j := readJob()
	var clients []*smtp.Client
	if !j.fresh {
		for index := 0; index < j.connections; index++ {
			clients = append(clients, j.connect())
		}
	}
	send := func(first, count int) {
		if j.fresh {
			j.sendFresh(first, count)
		} else {
			j.sendKept(clients, first, count)
		}
	}
	idle := peakMemory()
	send(0, j.warmUp)
	cpu := cpuSeconds()
	begin := time.Now()
	send(j.warmUp, j.messages)
	seconds := time.Since(begin).Seconds()
	line, err := json.Marshal(map[string]any{
		"seconds": seconds, "cpu": cpuSeconds() - cpu, "peak": peakMemory(), "idle": idle,
	})
	fail(err)
	fmt.Println(string(line))
	for _, client := range clients {
		fail(client.Quit())
	}
}
