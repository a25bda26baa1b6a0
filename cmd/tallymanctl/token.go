package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const tokenHelp = `Prints the token that the flight recorder's pages ask for, and nothing else: the file
that the agent has made (token_file of the extension flight_recorder). The agent's
log has its place. In the image:

  docker exec CONTAINER /tallymanctl token

Exit code: 0 if there is one, 1 if not or it may not be read, 2 if the call was wrong.`

// maxToken bounds what is read of the file, in bytes.
const maxToken = 4 << 10

func newToken() *cobra.Command {
	var path string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print the token that the flight recorder's pages ask for",
		Long:  tokenHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, err := awaitToken(cmd.Context(), path, wait)
			if err != nil {
				return outcome{fmt.Errorf("read token: %w", err)}
			}
			fmt.Fprintln(cmd.OutOrStdout(), token)
			return nil
		},
	}
	state := cmp.Or(os.Getenv("TALLYMAN_STATE"), "/var/lib/tallyman")
	usual := cmp.Or(os.Getenv("TALLYMAN_TOKEN_FILE"), filepath.Join(state, "recorder-token"))
	cmd.Flags().StringVar(&path, "file", usual, "the token's file ($TALLYMAN_TOKEN_FILE, or recorder-token in $TALLYMAN_STATE)")
	cmd.Flags().DurationVar(&wait, "wait", 10*time.Second, "how long to wait for an agent that is just starting to make it")
	return cmd
}

// tokenEvery is how often the file is looked for; an agent makes it in its first second.
const tokenEvery = 100 * time.Millisecond

// awaitToken reads the token as soon as there is a file.
func awaitToken(ctx context.Context, path string, wait time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	look := time.NewTicker(tokenEvery)
	defer look.Stop()
	for {
		token, err := readToken(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return token, err
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-look.C:
		}
	}
}

var errNoToken = errors.New("there is no token in it")

func readToken(path string) (string, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w (an agent with token_file makes it when it starts; --file names another)", err)
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxToken))
	if err != nil {
		return "", err
	}
	token := strings.TrimRight(string(content), "\r\n")
	if token == "" || oneLine(token) != token {
		return "", fmt.Errorf("%s: %w", path, errNoToken)
	}
	return token, nil
}
