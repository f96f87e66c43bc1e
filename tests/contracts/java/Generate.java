import java.io.File;
import java.io.IOException;
import java.util.Arrays;
import org.apache.avro.compiler.specific.SpecificCompiler;

/** Writes the classes of Avro schemas: the directory to write to, then the files of the schemas. */
final class Generate {
  public static void main(String[] args) throws IOException {
    File[] schemas = Arrays.stream(args).skip(1).map(File::new).toArray(File[]::new);
    SpecificCompiler.compileSchema(schemas, new File(args[0]));
  }
}
