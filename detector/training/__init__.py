"""Training: the step with its metric and optimizer (`Task`), schedules of the learning rate, callbacks."""
