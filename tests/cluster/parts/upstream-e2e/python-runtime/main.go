// A stand-in for the Python runtime of Agent Sandbox's examples: what upstream's tests ask of it, as one static
// program.
package main

import (
	"bytes"
	"encoding/json"
	"log"
	"net/http"
	"os/exec"
)

type result struct {
	Stdout   string `json:"stdout"`
	Stderr   string `json:"stderr"`
	ExitCode int    `json:"exit_code"`
}

func main() {
	http.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("POST /execute", execute)
	log.Fatal(http.ListenAndServe(":8888", nil))
}

func execute(response http.ResponseWriter, request *http.Request) {
	var asked struct {
		Command string `json:"command"`
	}
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil {
		http.Error(response, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	var out, errors bytes.Buffer
	command := exec.CommandContext(request.Context(), "sh", "-c", asked.Command)
	command.Stdout, command.Stderr = &out, &errors
	if err := command.Run(); command.ProcessState == nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(response).Encode(result{out.String(), errors.String(), command.ProcessState.ExitCode()})
}
