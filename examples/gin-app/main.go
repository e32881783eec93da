// An application behind the front door, in Gin: the paths of go-app without the database.
// Settings come from the environment; SIGTERM ends it once the requests in progress are answered.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/net/websocket"
)

// The longest that /slow waits, so that a stop is never held up for long.
const slowest = time.Minute

func main() {
	log.SetFlags(0)
	gin.SetMode(gin.ReleaseMode)
	instance := setting("INSTANCE", "gin")
	address := setting("ADDR", ":"+setting("PORT", "9002"))
	server := &http.Server{Addr: address, Handler: routes(instance), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		log.Printf("%s: listening on %s", instance, address)
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatalf("%s: %v", instance, err)
		}
	}()
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	<-stop.Done()
	patience, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		log.Fatalf("%s: requests were cut off: %v", instance, err)
	}
	log.Printf("%s: stopped", instance)
}

// setting is the environment's value of name, or fallback when it has none.
func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func routes(instance string) http.Handler {
	engine := gin.New()
	engine.Use(gin.Recovery())
	// Only the front door, on this machine or in a private network, may say who the client is.
	private := []string{"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1"}
	if err := engine.SetTrustedProxies(private); err != nil {
		log.Fatal(err)
	}
	engine.GET("/", func(c *gin.Context) {
		c.JSON(http.StatusOK, gin.H{
			"instance": instance, "host": c.Request.Host, "client": c.ClientIP(),
			"scheme": c.GetHeader("X-Forwarded-Proto"),
		})
	})
	engine.GET("/ping", func(c *gin.Context) { c.String(http.StatusOK, instance+"\n") })
	engine.GET("/healthz", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	engine.GET("/slow", func(c *gin.Context) { slow(c, instance) })
	engine.GET("/visits", func(c *gin.Context) {
		c.String(http.StatusServiceUnavailable, "no database\n")
	})
	// A Server, and not a Handler, lets clients in that send no Origin.
	engine.GET("/ws", gin.WrapH(websocket.Server{Handler: echo}))
	return engine
}

// slow answers after ?ms= milliseconds, or not at all when the client has gone.
func slow(c *gin.Context, instance string) {
	milliseconds, err := strconv.Atoi(c.Query("ms"))
	if err != nil || milliseconds < 0 || time.Duration(milliseconds)*time.Millisecond > slowest {
		c.String(http.StatusBadRequest, "?ms= must be between 0 and 60000\n")
		return
	}
	select {
	case <-time.After(time.Duration(milliseconds) * time.Millisecond):
		c.String(http.StatusOK, "%s waited %d ms\n", instance, milliseconds)
	case <-c.Request.Context().Done():
	}
}

// message keeps text apart from binary, so that an echo is of the same kind.
type message struct {
	payload []byte
	kind    byte
}

var messages = websocket.Codec{
	Marshal: func(v interface{}) ([]byte, byte, error) {
		m := v.(*message)
		return m.payload, m.kind, nil
	},
	Unmarshal: func(payload []byte, kind byte, v interface{}) error {
		*v.(*message) = message{payload, kind}
		return nil
	},
}

// echo answers each WebSocket message with itself until the client closes.
func echo(socket *websocket.Conn) {
	var m message
	for messages.Receive(socket, &m) == nil && messages.Send(socket, &m) == nil {
	}
	socket.WriteClose(1000)
}
