// An application behind the front door, in Go's net/http: what every path does is in README.md.
// Settings come from the environment; SIGTERM ends it once the requests in progress are answered.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	_ "github.com/lib/pq"
	"golang.org/x/net/websocket"
)

// The longest that /slow waits, so that a stop is never held up for long.
const slowest = time.Minute

func main() {
	log.SetFlags(0)
	app := &application{instance: setting("INSTANCE", "go")}
	if url := os.Getenv("DATABASE_URL"); url != "" {
		visits, err := openVisits(url)
		if err != nil {
			log.Fatalf("%s: database: %v", app.instance, err)
		}
		app.visits = visits
	}
	address := setting("ADDR", ":"+setting("PORT", "9001"))
	server := &http.Server{Addr: address, Handler: app.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		log.Printf("%s: listening on %s", app.instance, address)
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatalf("%s: %v", app.instance, err)
		}
	}()
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	<-stop.Done()
	patience, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		log.Fatalf("%s: requests were cut off: %v", app.instance, err)
	}
	log.Printf("%s: stopped", app.instance)
}

// setting is the environment's value of name, or fallback when it has none.
func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

type application struct {
	instance string
	visits   *visits // nil without DATABASE_URL
}

func (app *application) routes() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("/", app.home)
	routes.HandleFunc("/ping", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, app.instance)
	})
	routes.HandleFunc("/healthz", app.health)
	routes.HandleFunc("/slow", app.slow)
	routes.HandleFunc("/visits", app.countVisit)
	// A Server, and not a Handler, lets clients in that send no Origin.
	routes.Handle("/ws", websocket.Server{Handler: echo})
	return routes
}

// home tells what the front door told us about the client.
func (app *application) home(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintf(w, "Hello from %s.\n%s %s for %s\n", app.instance, r.Method, r.Host, r.RemoteAddr)
	for _, name := range []string{"X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"} {
		if value := r.Header.Get(name); value != "" {
			fmt.Fprintf(w, "%s: %s\n", name, value)
		}
	}
}

// health is what the front door's health check asks: 503 when the database does not answer.
func (app *application) health(w http.ResponseWriter, r *http.Request) {
	if app.visits != nil {
		if err := app.visits.ping(r.Context()); err != nil {
			http.Error(w, "database: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ok")
}

// slow answers after ?ms= milliseconds, or not at all when the client has gone.
func (app *application) slow(w http.ResponseWriter, r *http.Request) {
	milliseconds, err := strconv.Atoi(r.URL.Query().Get("ms"))
	if err != nil || milliseconds < 0 || time.Duration(milliseconds)*time.Millisecond > slowest {
		http.Error(w, "?ms= must be between 0 and 60000", http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(time.Duration(milliseconds) * time.Millisecond):
		fmt.Fprintf(w, "%s waited %d ms\n", app.instance, milliseconds)
	case <-r.Context().Done():
	}
}

func (app *application) countVisit(w http.ResponseWriter, r *http.Request) {
	if app.visits == nil {
		http.Error(w, "no DATABASE_URL", http.StatusServiceUnavailable)
		return
	}
	count, err := app.visits.add(r.Context())
	if err != nil {
		http.Error(w, "database: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, count)
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

// visits is a counter in PostgreSQL, shared by all instances.
type visits struct{ database *sql.DB }

func openVisits(url string) (*visits, error) {
	database, err := sql.Open("postgres", url)
	if err != nil {
		return nil, err
	}
	// Two instances that start together may both try to create the table: the lock lets one wait.
	_, err = database.Exec(`BEGIN; SELECT pg_advisory_xact_lock(7046001);
		CREATE TABLE IF NOT EXISTS visits (id int PRIMARY KEY, count bigint NOT NULL);
		INSERT INTO visits VALUES (1, 0) ON CONFLICT DO NOTHING; COMMIT`)
	return &visits{database}, err
}

func (v *visits) ping(ctx context.Context) error { return v.database.PingContext(ctx) }

func (v *visits) add(ctx context.Context) (count int64, err error) {
	err = v.database.QueryRowContext(ctx,
		"UPDATE visits SET count = count + 1 WHERE id = 1 RETURNING count").Scan(&count)
	return count, err
}
