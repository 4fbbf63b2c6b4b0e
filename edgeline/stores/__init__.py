"""Where things lie: endpoints, keys and signatures of object stores."""
