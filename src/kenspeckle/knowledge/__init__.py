"""What people know: a rules file, compiled into one exact distribution over answers."""
