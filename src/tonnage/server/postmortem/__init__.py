"""What is known, decided and told when a worker, a program or a request has ended badly."""
